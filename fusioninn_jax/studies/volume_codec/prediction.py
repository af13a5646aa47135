"""What a voxel is predicted to be, from neighbours, and learning from what it is; integers alone, of which
some stand in float64 (numba).

Predictions and errors are in 1/64 of a level (SUB bits after the point), coefficients in 2⁻¹⁴, weights in 2⁻¹⁶.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fusioninn_jax.studies.volume_codec.compiled import compiled
from fusioninn_jax.studies.volume_codec.layout import LEFT, OWN_ADAPTED, Neighbours

SUB, COEFFICIENT_BITS = 6, 14
WIDEST = 1 << 20  # levels; every index and product below is safe for them
EXPERTS, ROOM = 5, 8  # predictions: that of the coefficients, two adapted ones, two with feedback; room for them
CONSTANT = 1024  # the input beside the neighbours
SHIFTS = (16, 18, 17, 20)  # of the steps of the adapted ones and of the feedback: larger is slower
FEEDBACK = 11  # errors beside a voxel that correct its prediction
ERROR_TOP, WEIGHT_TOP, DIFFERENCE_TOP = 1 << 20, 1 << 36, 32767
BIASES, BIAS_USES = 2048, 255  # contexts; errors before the older ones fade


class Fit(NamedTuple):
    """What travels.

    Attributes:
      coefficients: float64 integers (groups, inputs + 1); group: of each slice.
      decorrelation: float64 integers (adapted, adapted + 3), a lower triangle with zeros behind it.
      beside: float64 integers (4, adapted): what the voxel's row adds to differences that are decorrelated, times its
        LEFT neighbours and times what is subtracted from all neighbours of its plane.
    """

    coefficients: np.ndarray
    group: np.ndarray
    decorrelation: np.ndarray
    beside: np.ndarray


def new_fit(coefficients: np.ndarray, group: np.ndarray, triangle: np.ndarray) -> Fit:
    """What travels, as the loops take it.

    Args:
      coefficients: integers (groups, inputs + 1).
      group: of each slice of the slab, `fitting.groups`.
      triangle: integers (adapted, adapted), `fitting.decorrelation`.
    """
    size = len(triangle)
    decorrelation = np.zeros((size, size + 3))
    decorrelation[:, :size] = triangle
    beside = [*triangle[:, :LEFT].T, -triangle[:, :OWN_ADAPTED].sum(1)]
    return Fit(coefficients.astype(np.float64), group, decorrelation, np.array(beside, np.float64))


class Adaptive(NamedTuple):
    """What predictions learn, and room for one voxel or one row; int64 if nothing else is said.

    Attributes:
      misses: int32 (2 slices' places, ROOM), absolute errors of the predictions, in 1/16.
      errors, raw: int32 (2 slices' places,), signed errors of the final prediction and of the first blend, in 1/8.
      weights: (2, adapted), feedback: (2, FEEDBACK).
      linear: float64 (row,), sources and mixed: float64 (adapted + 3, row), what is known before a row of the
        prediction, of the neighbours' differences, and of these decorrelated.
      sums (float64), decorrelated, beside: inputs of one voxel: decorrelated differences before and after rounding,
        errors.
      guesses, trust: (ROOM,), the predictions of one voxel and their weights.
      biases: (2, contexts, 2), sums of errors and their number.
    """

    misses: np.ndarray
    errors: np.ndarray
    raw: np.ndarray
    weights: np.ndarray
    feedback: np.ndarray
    linear: np.ndarray
    sources: np.ndarray
    mixed: np.ndarray
    sums: np.ndarray
    decorrelated: np.ndarray
    beside: np.ndarray
    guesses: np.ndarray
    trust: np.ndarray
    biases: np.ndarray


def new_adaptive(area: int, row: int, adapted: int) -> Adaptive:
    """Nothing learned yet.

    Args:
      area, row: voxels of a slice and of a row, margins included.
      adapted: how many weights follow the voxels, see `layout.Neighbours`.
    """

    def zeros(*shape: int, dtype: type = np.int64) -> np.ndarray:
        return np.zeros(shape, dtype)

    return Adaptive(
        misses=zeros(2 * area, ROOM, dtype=np.int32),
        errors=zeros(2 * area, dtype=np.int32),
        raw=zeros(2 * area, dtype=np.int32),
        weights=zeros(2, adapted),
        feedback=zeros(2, FEEDBACK),
        linear=zeros(row, dtype=np.float64),
        sources=zeros(adapted + 3, row, dtype=np.float64),
        mixed=zeros(adapted + 3, row, dtype=np.float64),
        sums=zeros(adapted, dtype=np.float64),
        decorrelated=zeros(adapted),
        beside=zeros(FEEDBACK),
        guesses=zeros(ROOM),
        trust=zeros(ROOM),
        biases=zeros(2, BIASES, 2),
    )


@compiled(forceinline=True)
def clip(value, top):  # type: ignore[no-untyped-def]
    """A `value` brought into -`top` ... `top`."""
    return min(top, max(-top, value))


@compiled()
def add_scaled(total, values, factor):  # type: ignore[no-untyped-def]
    """Adds a row of integers, `values`, times a `factor` to `total`, in place."""
    for x in range(len(total)):
        total[x] += factor * values[x]


@compiled()
def add_four(total, rows, factors, j):  # type: ignore[no-untyped-def]
    """Adds to `total`, in place, four of `rows` from the `j`-th on times theirs of `factors`."""
    size, f0, f1, f2, f3 = len(total), factors[j], factors[j + 1], factors[j + 2], factors[j + 3]
    r0, r1, r2, r3 = rows[j, :size], rows[j + 1, :size], rows[j + 2, :size], rows[j + 3, :size]
    for x in range(size):
        total[x] += f0 * r0[x] + f1 * r1[x] + f2 * r2[x] + f3 * r3[x]


@compiled()
def prepare_row(own, known, start, size, near: Neighbours, fit: Fit, coefficients, a: Adaptive):  # type: ignore[no-untyped-def]
    """All of the linear predictions and the decorrelated differences that a row's own voxels have no part in.

    Whole rows at once, since that is what processors do fast. The products are of integers in float64, and their sums
    stay below 2⁵³ (`fitting.STEEPEST`, `fitting.LARGEST`): exact, in whatever order they are added.

    Args:
      own, known: flat levels of the slab and of the known planes.
      start, size: the first voxel of the row, and how many.
      near: where neighbours lie.
      fit: what travels.
      coefficients: of it, those of the slice.
      a: keeps the result.
    """
    linear, count, adapted = a.linear[:size], len(near.own), len(near.adapted)
    linear[:] = coefficients[-1] * CONSTANT
    for j in range(LEFT, count):
        place = start + near.own[j]
        add_scaled(linear, own[place : place + size], coefficients[j])
    for j in range(len(near.known)):
        place = start + near.known[j]
        add_scaled(linear, known[place : place + size], coefficients[count + j])
    for j in range(LEFT, adapted):
        source, i = a.sources[j, :size], near.adapted[j]
        source[:] = 0.0
        if i < count:
            place = start + near.own[i]
            add_scaled(source, own[place : place + size], 1.0)
        else:
            place, reference = start + near.known[i - count], start + near.reference[i - count]
            add_scaled(source, known[place : place + size], 1.0)
            add_scaled(source, known[reference : reference + size], -1.0)
    for k in range(LEFT, adapted):
        total = a.mixed[k, :size]
        total[:] = 0.0
        for j in range(LEFT, k + 1, 4):
            add_four(total, a.sources, fit.decorrelation[k], j)


@compiled(forceinline=True)
def from_coefficients(own, place, x, coefficients, a: Adaptive):  # type: ignore[no-untyped-def]
    """The linear prediction of `own`[`place`], voxel `x` of the row prepared in `a`; `coefficients` are its slice's."""
    total = a.linear[x]
    for j in range(LEFT):
        total += coefficients[j] * own[place - 1 - j]
    return np.int64(total) >> (COEFFICIENT_BITS - SUB)


@compiled(forceinline=True)
def decorrelate(own, place, x, base, beside, a: Adaptive):  # type: ignore[no-untyped-def]
    """Differences of neighbours, decorrelated (256 is their usual size); returns the sum of squares.

    Args:
      own: flat levels, the voxel's at `place`.
      place: see there.
      x: number of the voxel in the row prepared.
      base: the linear prediction, in 1/64.
      beside: of `Fit`.
      a: holds the row, and keeps the result.
    """
    count, sums, decorrelated = len(a.sums), a.sums, a.decorrelated
    for k in range(count):
        sums[k] = a.mixed[k, x]
    left, second, third = float(own[place - 1]), float(own[place - 2]), float(own[place - 3])
    reference = float(base >> SUB)
    b0, b1, b2, b3 = beside[0], beside[1], beside[2], beside[3]
    squares = np.int64(64 * count)
    for k in range(count):
        value = sums[k] + b0[k] * left + b1[k] * second + b2[k] * third + b3[k] * reference
        decorrelated[k] = clip(np.int64(value) >> 16, DIFFERENCE_TOP)
        squares += decorrelated[k] * decorrelated[k]
    return squares


@compiled(forceinline=True)
def weighted(weights, inputs):  # type: ignore[no-untyped-def]
    """The sum of the products of `weights` and `inputs`."""
    total = np.int64(0)
    for j in range(len(inputs)):
        total += weights[j] * inputs[j]
    return total


@compiled(forceinline=True)
def weigh(a: Adaptive, here, below, row):  # type: ignore[no-untyped-def]
    """The weight of each prediction, one over the square of its errors beside the voxel; 2⁴⁰ is one.

    A division in float64 is the same everywhere, and cut off to an integer it is exact here.

    Args:
      a: holds the errors, and keeps the result.
      here, below: places of the voxel, and of the one in the slice before, among the errors of two slices.
      row: voxels of a row.
    """
    m, trust = a.misses, a.trust
    for k in range(ROOM):
        near = m[here - 1, k] + m[here - row, k] + m[below, k]
        far = m[here - row - 1, k] + m[here - row + 1, k] + m[here - 2, k] + m[here - 2 * row, k]
        missed = float(2 * near + far + m[below + 1, k] + m[below + row, k] + 16)
        trust[k] = np.int64(float(1 << 40) / (missed * missed)) + 1


@compiled(forceinline=True)
def blend(a: Adaptive, first, last, center):  # type: ignore[no-untyped-def]
    """The weighted mean of the guesses `first` ... `last` - 1 of `a`, summed up about `center`."""
    total, weight_sum = np.int64(0), np.int64(0)
    for k in range(first, last):
        total += a.trust[k] * (a.guesses[k] - center)
        weight_sum += a.trust[k]
    return center + total // weight_sum


@compiled(forceinline=True)
def gather_errors(raw, here, below, row, beside):  # type: ignore[no-untyped-def]
    """The errors beside a voxel; returns the sum of squares.

    Args:
      raw: errors of two slices.
      here, below: places in it of the voxel, and of the one in the slice before.
      row: voxels of a row.
      beside: keeps the result.
    """
    beside[0], beside[1], beside[2] = raw[here - 1], raw[here - row], raw[here - row - 1]
    beside[3], beside[4], beside[5] = raw[here - row + 1], raw[here - 2], raw[here - 2 * row]
    beside[6], beside[7], beside[8] = raw[below], raw[below + 1], raw[below + row]
    beside[9], beside[10] = raw[below - 1], raw[below - row]
    squares = np.int64(64)
    for j in range(FEEDBACK):
        squares += beside[j] * beside[j]
    return squares


@compiled(forceinline=True)
def follow(weights, inputs, error, squares, shift):  # type: ignore[no-untyped-def]
    """A step of normalised LMS: `weights` move along their `inputs` by `error` / `squares` · 2^(20 - `shift`)."""
    step, half = (error << 20) // squares, 1 << (shift - 1)
    for j in range(len(weights)):
        weights[j] = clip(weights[j] + ((step * inputs[j] + half) >> shift), WEIGHT_TOP)


@compiled(forceinline=True)
def bias(biases, which, context):  # type: ignore[no-untyped-def]
    """The mean error in a `context` of the `which`-th of `biases`."""
    count = biases[which, context, 1]
    return biases[which, context, 0] // count if count > 0 else np.int64(0)


@compiled(forceinline=True)
def learn_bias(biases, which, context, error):  # type: ignore[no-untyped-def]
    """Adds an `error` to a `context` of the `which`-th of `biases`, older ones fading."""
    biases[which, context, 0] += error
    biases[which, context, 1] += 1
    if biases[which, context, 1] >= BIAS_USES:
        biases[which, context, 0] >>= 1
        biases[which, context, 1] >>= 1
