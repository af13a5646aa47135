"""Coding a voxel's level about its prediction: up or down, steps, the rest within a step (numba, integers alone)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fusioninn_jax.studies.volume_codec.coder import (
    FRESH,
    INPUTS,
    Coder,
    Mixer,
    code_bit,
    code_learned,
    code_mixed,
    new_mixer,
)
from fusioninn_jax.studies.volume_codec.compiled import compiled
from fusioninn_jax.studies.volume_codec.prediction import SUB, clip

NODES, STEPS = 24, 40  # decisions that a context tells apart; steps before the rest is written as a number
SCALES, COARSE = 72, 20  # levels of scale, four an octave; every fourth of them
SIZES = (SCALES, COARSE * COARSE, COARSE * 15, 144 * COARSE, 8 * SCALES, 256 * COARSE, COARSE * 20, 64 * COARSE)
STARTS = np.cumsum([0, *SIZES])[:-1] * NODES
SETS, KINDS = 4, 8  # of weights by width of step, of correcting curves by scale
LIMIT, MASK_LIMIT, LOW_LIMIT, ESCAPE_LIMIT = 400, 1000, 1000, 30
ESCAPES = SCALES * 64  # where their counters begin, behind those of the bits within a step
EVEN = 32768


def _quarter_octaves() -> np.ndarray:
    """floor(4 · log2(i)) for i = 0 ... 4096, by comparing i⁴ with powers of 2: exact."""
    powers = [2**k for k in range(49)]
    return np.array([0, *(int(np.searchsorted(powers, i**4, side="right")) - 1 for i in range(1, 4097))], np.uint8)


LOG = _quarter_octaves()


class Learned(NamedTuple):
    """Counters of the background, of the bits within a step, what steps learn; room for the contexts of one voxel."""

    mask: np.ndarray
    low: np.ndarray
    mixer: Mixer
    contexts: np.ndarray


class Surroundings(NamedTuple):
    """What the decisions of a voxel depend on.

    Attributes:
      prediction: in 1/64; `lowest`, `highest`: the levels that are possible.
      level: of the usual error beside the voxel, among SCALES.
      up, down: how far the bounds lie, 0 to 7.
    """

    prediction: int
    lowest: int
    highest: int
    level: int
    up: int
    down: int


def new_learned() -> Learned:
    """Nothing learned yet."""
    return Learned(
        np.full(1 << 11, FRESH, np.uint32),
        np.full(ESCAPES + 64, FRESH, np.uint32),
        new_mixer(sum(SIZES) * NODES, SETS * NODES, NODES * KINDS),
        np.zeros(INPUTS, np.int64),
    )


@compiled(forceinline=True)
def logarithm(value):  # type: ignore[no-untyped-def]
    """floor(4 · log2) nearly, of an integer `value`; 0 for 0."""
    octaves = 0
    while value > 4096:
        value >>= 1
        octaves += 4
    return np.int64(LOG[max(0, value)]) + octaves


@compiled()
def room(distance, scale):  # type: ignore[no-untyped-def]
    """How far a bound lies, in logarithmic steps 0 to 7: its `distance` in 1/64, beside a `scale` of errors in 1/16."""
    return min(7, logarithm(max(0, distance) * 16 // (scale + 1) + 1) // 4)


@compiled(forceinline=True)
def choose(mixer: Mixer, contexts, node, near, far, level):  # type: ignore[no-untyped-def]
    """Names the counters of a decision.

    Args:
      mixer: whose counters; it keeps their names.
      contexts: of the voxel, one for each counter but the last.
      node: which decision of the voxel.
      near, far: how far the bounds lie ahead and behind, 0 to 7.
      level: of the usual error, among SCALES.
    """
    for k in range(INPUTS - 1):
        mixer.chosen[k] = STARTS[k] + contexts[k] * NODES + node
    mixer.chosen[INPUTS - 1] = STARTS[INPUTS - 1] + ((near * 8 + far) * COARSE + (level >> 2)) * NODES + node


@compiled()
def code_level(value, s: Surroundings, contexts, learned: Learned, coder: Coder):  # type: ignore[no-untyped-def]
    """Codes a level between the bounds; returns it.

    Args:
      value: the level; of no meaning in decoding.
      s: what its decisions depend on.
      contexts: of the voxel, see `choose`.
      learned: so far; it learns.
      coder: writes or reads.
    """
    floor, width = s.prediction >> SUB, max(0, (s.level >> 2) - 5)
    weights, kind = min(SETS - 1, width >> 1) * NODES, min(KINDS - 1, s.level >> 3)
    if floor >= s.highest:
        upward = 0
    elif floor < s.lowest:
        upward = 1
    else:
        choose(learned.mixer, contexts, 0, s.up, s.down, s.level)
        upward = code_mixed(1 if value > floor else 0, learned.mixer, weights, kind, LIMIT, coder)
    if upward:
        distance, furthest, behind = value - floor - 1, s.highest - floor - 1, s.down
    else:
        distance, furthest, behind = floor - value, floor - s.lowest, s.up
    steps = code_steps(distance >> width, furthest >> width, behind, s.level, weights, kind, contexts, learned, coder)
    distance = code_within(distance, steps, furthest, width, s.level, learned, coder)
    level = floor + 1 + distance if upward else floor - distance
    return min(s.highest, max(s.lowest, level))


@compiled()
def code_steps(steps, most, behind, level, weights, kind, contexts, learned: Learned, coder: Coder):  # type: ignore[no-untyped-def]
    """Codes how many whole steps the voxel lies off; returns it.

    Args:
      steps: how many; of no meaning in decoding.
      most: how many there can be.
      behind: how far the bound on the other side lies, 0 to 7.
      level: of the usual error, among SCALES.
      weights, kind: places in the mixer's weights and curves.
      contexts: of the voxel, see `choose`.
      learned: so far; it learns.
      coder: writes or reads.
    """
    i = 0
    while i < min(most, STEPS):
        node = min(i + 1, NODES - 1)
        choose(learned.mixer, contexts, node, min(7, most - i - 1), behind, level)
        if not code_mixed(1 if steps > i else 0, learned.mixer, weights + node, node * KINDS + kind, LIMIT, coder):
            return i
        i += 1
    return i if i >= most else i + code_number(steps - i, learned.low, coder)


@compiled()
def code_number(number, counters, coder: Coder):  # type: ignore[no-untyped-def]
    """Codes an integer `number` from 0 with a `coder`: its length, under `counters`, then its bits (Elias gamma)."""
    length, bits = 0, 0
    while (number + 1) >> (length + 1) > 0:
        length += 1
    while bits < 24 and code_learned(1 if bits < length else 0, counters, ESCAPES + bits, ESCAPE_LIMIT, coder):
        bits += 1
    result = 1
    for j in range(bits - 1, -1, -1):
        result = result * 2 + code_bit(((number + 1) >> j) & 1, EVEN, coder)
    return result - 1


@compiled()
def code_within(distance, steps, furthest, width, level, learned: Learned, coder: Coder):  # type: ignore[no-untyped-def]
    """Codes the bits below a step; the two highest under counters. Returns the whole distance.

    Args:
      distance: from the prediction; of no meaning in decoding.
      steps: the whole ones of it, coded before.
      furthest: the largest distance that is possible.
      width: bits of a step.
      level: of the usual error, among SCALES.
      learned: so far; it learns.
      coder: writes or reads.
    """
    result = steps
    for j in range(width - 1, -1, -1):
        bit, depth = (distance >> j) & 1, width - 1 - j
        if ((result * 2 + 1) << j) > furthest:
            bit = 0
        elif depth < 2:
            context = (level * 8 + min(steps, 7)) * 8 + (1 if depth == 0 else 2 + (result & 1))
            bit = code_learned(bit, learned.low, context, LOW_LIMIT, coder)
        else:
            bit = code_bit(bit, EVEN, coder)
        result = result * 2 + bit
    return result


@compiled()
def signed_part(value, scale, most):  # type: ignore[no-untyped-def]
    """A difference, `value`, in 1/64 against half a `scale` in 1/16, cut to -`most` ... `most`."""
    return clip(value * 2 // (scale + 1), most)
