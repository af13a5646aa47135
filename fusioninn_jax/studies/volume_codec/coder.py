"""An adaptive binary arithmetic coder in integers (numba): the same bytes and the same bits on every machine.

Libraries of entropy coders take a table of frequencies a symbol, or a whole array of symbols under fixed ones. Here
every decision has a probability of its own, mixed from what several contexts have learned so far, and all of them
learn from it at once: that has to stand in one compiled loop with the coder.

The coder keeps an interval [low, high] of 32 bits and gives away its leading byte when both ends agree on it.
Probabilities are of a 1, in 16 bits. A counter holds a probability in 22 bits and below it, in 10, how often it was
used: it moves by 1 / (uses + 1.5), uses up to a limit. Mixing is logistic (Mahoney 2005, "Adaptive weighing of context
models"): p = squash(sum of weight · stretch(p_i)), the weights moved along the gradient of the coding cost; a curve for
each kind of decision corrects the result (adaptive probability map, same source).
"""

from __future__ import annotations

import decimal
from typing import NamedTuple

import numpy as np

from fusioninn_jax.studies.volume_codec.compiled import compiled

LOW, HIGH, CODE, PLACE, SIZE, DECODING = range(6)  # of `Coder.state`
SPARE = 1024  # bytes; no voxel takes more
FRESH = 1 << 31  # a counter that knows nothing
COUNT = 1023  # the bits of a counter that count
NARROWEST = 24  # probability of what seems impossible, of 65536
STEP = 256  # of stretched probabilities a unit
TOP = 2047  # the largest stretched probability
INPUTS = 8  # counters that are mixed
CURVE = 34  # points of a correcting curve
MOVES = np.array([int(65536 / (uses + 1.5)) for uses in range(COUNT + 1)], np.int32)


def _squash_table() -> np.ndarray:
    """squash(x / STEP) in 16 bits; decimal arithmetic, since exp differs in its last digit between machines."""
    context, values = decimal.Context(prec=25), []
    for x in range(-TOP, TOP + 1):
        power = context.exp(context.divide(decimal.Decimal(-x), decimal.Decimal(STEP)))
        values.append(int(context.divide(decimal.Decimal(65536), context.add(1, power)).to_integral_value()))
    return np.clip(np.array(values, np.int64), NARROWEST, 65536 - NARROWEST)


# small types: these tables and what is learned compete for a processor's nearest 32 KB
SQUASH = _squash_table().astype(np.int32)
STRETCH = (np.searchsorted(SQUASH, np.arange(4096) * 16 + 8) - TOP).clip(-TOP, TOP).astype(np.int16)


class Coder(NamedTuple):
    """`state` int64 (6,): the interval, the code read, place and size of the data, whether it decodes; `data` uint8."""

    state: np.ndarray
    data: np.ndarray


class Mixer(NamedTuple):
    """What mixed decisions learn.

    Attributes:
      counters: uint32 (contexts together,).
      weights: int64 (sets, INPUTS), in 16 bits after the point.
      curves: int64 (kinds, CURVE).
      stretched: int64 (INPUTS,), room for one decision.
      chosen: int64 (INPUTS,), the counters of this decision.
    """

    counters: np.ndarray
    weights: np.ndarray
    curves: np.ndarray
    stretched: np.ndarray
    chosen: np.ndarray


def new_coder(data: np.ndarray, size: int, decoding: bool) -> Coder:
    """A coder that writes to `data`, uint8; where it is `decoding`, one that reads `size` bytes of it."""
    state = np.zeros(6, np.int64)
    state[[HIGH, SIZE, DECODING]] = 0xFFFFFFFF, size, decoding
    if decoding:
        for place in range(4):
            state[CODE] = (state[CODE] << 8) | (int(data[place]) if place < size else 0)
        state[PLACE] = 4
    return Coder(state, data)


def new_mixer(counters: int, sets: int, kinds: int) -> Mixer:
    """A mixer that knows nothing: every input counts alike.

    Args:
      counters: of all contexts together.
      sets: of weights.
      kinds: of decisions, a correcting curve each.
    """
    points = np.clip(np.arange(CURVE) * 128 - 1, 0, 2 * TOP)
    return Mixer(
        np.full(counters, FRESH, np.uint32),
        np.full((sets, INPUTS), 65536 * 3 // 10, np.int64),
        np.tile(SQUASH[points].astype(np.int64), (kinds, 1)),
        np.zeros(INPUTS, np.int64),
        np.zeros(INPUTS, np.int64),
    )


@compiled()
def code_bit(bit, p, coder):  # type: ignore[no-untyped-def]
    """Codes a decision of probability `p` (of 65536, for a 1) with a `coder`.

    Returns `bit` when encoding, else what the data says.
    """
    state = coder.state
    low, high = state[LOW], state[HIGH]
    width = high - low
    middle = low + (width >> 16) * p + (((width & 0xFFFF) * p) >> 16)
    if state[DECODING] == 1:
        bit = 1 if state[CODE] <= middle else 0
    if bit:
        high = middle
    else:
        low = middle + 1
    while ((low ^ high) & 0xFF000000) == 0:
        place = state[PLACE]
        if state[DECODING] == 1:
            byte = np.int64(coder.data[place]) if place < state[SIZE] else np.int64(0)
            state[CODE] = ((state[CODE] << 8) & 0xFFFFFFFF) | byte
        else:
            coder.data[place] = high >> 24
        state[PLACE] = place + 1
        low = (low << 8) & 0xFFFFFFFF
        high = ((high << 8) & 0xFFFFFFFF) | 255
    state[LOW], state[HIGH] = low, high
    return bit


@compiled()
def finish(coder):  # type: ignore[no-untyped-def]
    """Writes out the interval of a `coder`; returns how many bytes there are."""
    for i in range(4):
        coder.data[coder.state[PLACE]] = (coder.state[LOW] >> (24 - 8 * i)) & 255
        coder.state[PLACE] += 1
    return coder.state[PLACE]


@compiled(forceinline=True)
def learn(counters, i, bit, limit):  # type: ignore[no-untyped-def]
    """Moves the counter `i` of `counters` towards `bit`, which happened; its uses count up to `limit`."""
    counter = np.int64(counters[i])
    uses, p = counter & COUNT, counter >> 10
    target = 4194303 if bit else 0
    p += ((target - p) * np.int64(MOVES[uses])) >> 16
    counters[i] = np.uint32((p << 10) | min(limit, uses + 1))


@compiled()
def code_learned(bit, counters, i, limit, coder):  # type: ignore[no-untyped-def]
    """Codes a decision, `bit`, with a `coder` under the counter `i` of `counters`, which learns up to `limit`."""
    bit = code_bit(bit, min(65535, max(1, np.int64(counters[i]) >> 16)), coder)
    learn(counters, i, bit, limit)
    return bit


@compiled(forceinline=True)
def code_mixed(bit, mixer, weight_set, kind, limit, coder):  # type: ignore[no-untyped-def]
    """Codes a decision, `bit`, with a `coder` under the counters named by `mixer.chosen`; they and the mixer learn.

    Args:
      bit: 0 or 1; of no meaning in decoding.
      mixer: what mixed decisions have learned.
      weight_set: which of its weights serve.
      kind: which of its curves.
      limit: up to which a counter's uses count.
      coder: writes or reads.
    """
    stretched, weights, curve = mixer.stretched, mixer.weights[weight_set], mixer.curves[kind]
    total = 0
    for k in range(INPUTS):
        stretched[k] = STRETCH[mixer.counters[mixer.chosen[k]] >> np.uint32(20)]
        total += weights[k] * stretched[k]
    total = min(TOP, max(-TOP, total >> 16))
    mixed = np.int64(SQUASH[total + TOP])
    point, part = ((total + TOP + 1) * 32) >> 12, ((total + TOP + 1) * 32) & 4095
    curved = (curve[point] * (4096 - part) + curve[point + 1] * part) >> 12
    bit = code_bit(bit, min(65536 - NARROWEST, max(NARROWEST, (mixed + curved) >> 1)), coder)
    target = 65535 if bit else 0
    error = (target - mixed) * 4
    for k in range(INPUTS):
        weights[k] = min(1 << 20, max(-(1 << 20), weights[k] + ((stretched[k] * error + (1 << 17)) >> 18)))
        learn(mixer.counters, mixer.chosen[k], bit, limit)
    nearest = point + (1 if part > 2048 else 0)
    curve[nearest] += (target - curve[nearest]) >> 6
    return bit
