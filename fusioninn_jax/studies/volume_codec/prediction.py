"""What a voxel is predicted to be, from neighbours, and learning from what it is; integers alone (numba).

Predictions and errors are in 1/64 of a level (SUB bits after the point), coefficients in 2⁻¹⁴, weights in 2⁻¹⁶.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fusioninn_jax.studies.volume_codec.compiled import compiled
from fusioninn_jax.studies.volume_codec.layout import Neighbours

SUB, COEFFICIENT_BITS = 6, 14
WIDEST = 1 << 20  # levels; every index and product below is safe for them
EXPERTS = 5  # predictions: that of the coefficients, two adapted ones, two with feedback
SHIFTS = (16, 18, 17, 20)  # of the steps of the adapted ones and of the feedback: larger is slower
FEEDBACK = 11  # errors beside a voxel that correct its prediction
ERROR_TOP, WEIGHT_TOP, DIFFERENCE_TOP = 1 << 20, 1 << 36, 32767
BIASES, BIAS_USES = 2048, 255  # contexts; errors before the older ones fade


class Fit(NamedTuple):
    """What travels: coefficients (groups, inputs + 1), the group of each slice; the decorrelation of the
    adapted, transposed, integers in float64."""

    coefficients: np.ndarray
    group: np.ndarray
    decorrelation: np.ndarray


class Adaptive(NamedTuple):
    """What predictions learn, and room for one voxel; int64.

    Attributes:
      misses: (2 slices' places, EXPERTS), absolute errors of the predictions, in 1/16.
      errors, raw: (2 slices' places,), signed errors of the final prediction and of the first blend, in 1/8.
      weights: (2, adapted), feedback: (2, FEEDBACK).
      levels, sums (float64), decorrelated, beside: inputs of one voxel: neighbours, their decorrelated differences
        before and after rounding, errors.
      guesses: (EXPERTS,), the predictions of one voxel.
      biases: (2, contexts, 2), sums of errors and their number.
    """

    misses: np.ndarray
    errors: np.ndarray
    raw: np.ndarray
    weights: np.ndarray
    feedback: np.ndarray
    levels: np.ndarray
    sums: np.ndarray
    decorrelated: np.ndarray
    beside: np.ndarray
    guesses: np.ndarray
    biases: np.ndarray


def new_adaptive(area: int, inputs: int, adapted: int) -> Adaptive:
    """Nothing learned yet."""

    def zeros(*shape: int) -> np.ndarray:
        return np.zeros(shape, np.int64)

    return Adaptive(
        zeros(2 * area, EXPERTS),
        zeros(2 * area),
        zeros(2 * area),
        zeros(2, adapted),
        zeros(2, FEEDBACK),
        zeros(inputs),
        np.zeros(adapted),
        zeros(adapted),
        zeros(FEEDBACK),
        zeros(EXPERTS),
        zeros(2, BIASES, 2),
    )


@compiled(forceinline=True)
def clip(value, top):  # type: ignore[no-untyped-def]
    """A value brought into -top ... top."""
    return min(top, max(-top, value))


@compiled()
def from_coefficients(own, known, place, near: Neighbours, coefficients, a: Adaptive):  # type: ignore[no-untyped-def]
    """The linear prediction; leaves the neighbours' levels in `a.levels`."""
    total, count = coefficients[-1] * 64, len(near.own)
    for j in range(count):
        a.levels[j] = own[place + near.own[j]]
        total += coefficients[j] * a.levels[j]
    for j in range(len(near.known)):
        a.levels[count + j] = known[place + near.known[j]]
        total += coefficients[count + j] * a.levels[count + j]
    return total >> (COEFFICIENT_BITS - SUB)


@compiled()
def decorrelate(known, place, near: Neighbours, base, decorrelation, a: Adaptive):  # type: ignore[no-untyped-def]
    """Differences of neighbours, decorrelated (256 is their usual size); returns the sum of squares.

    The products are of integers in float64 and stay below 2⁵³: exact, in whatever order they are added.
    """
    count = len(near.adapted)
    for j in range(count):
        a.sums[j] = 0.0
    for j in range(count):
        i = near.adapted[j]
        inside = i - len(near.own)
        reference = base >> SUB if inside < 0 else known[place + near.reference[inside]]
        difference = float(clip(a.levels[i] - reference, DIFFERENCE_TOP))
        for k in range(j, count):
            a.sums[k] += decorrelation[j, k] * difference
    squares = np.int64(64 * count)
    for j in range(count):
        a.decorrelated[j] = clip(np.int64(a.sums[j]) >> 16, DIFFERENCE_TOP)
        squares += a.decorrelated[j] * a.decorrelated[j]
    return squares


@compiled(forceinline=True)
def weighted(weights, inputs):  # type: ignore[no-untyped-def]
    """The sum of products."""
    total = np.int64(0)
    for j in range(len(inputs)):
        total += weights[j] * inputs[j]
    return total


@compiled()
def blend(a: Adaptive, first, last, here, below, row, center):  # type: ignore[no-untyped-def]
    """The mean of some predictions, weighted by one over the square of their errors beside the voxel."""
    total, weight_sum, misses = np.int64(0), np.int64(0), a.misses
    for k in range(first, last):
        sum_ = (
            2 * misses[here - 1, k]
            + 2 * misses[here - row, k]
            + misses[here - row - 1, k]
            + misses[here - row + 1, k]
            + misses[here - 2, k]
            + misses[here - 2 * row, k]
            + 2 * misses[below, k]
            + misses[below + 1, k]
            + misses[below + row, k]
            + 16
        )
        weight = (1 << 40) // (sum_ * sum_) + 1
        total += weight * (a.guesses[k] - center)
        weight_sum += weight
    return center + total // weight_sum


@compiled()
def gather_errors(raw, here, below, row, beside):  # type: ignore[no-untyped-def]
    """The errors beside a voxel; returns the sum of squares."""
    beside[0], beside[1], beside[2] = raw[here - 1], raw[here - row], raw[here - row - 1]
    beside[3], beside[4], beside[5] = raw[here - row + 1], raw[here - 2], raw[here - 2 * row]
    beside[6], beside[7], beside[8] = raw[below], raw[below + 1], raw[below + row]
    beside[9], beside[10] = raw[below - 1], raw[below - row]
    squares = np.int64(64)
    for j in range(FEEDBACK):
        squares += beside[j] * beside[j]
    return squares


@compiled()
def follow(weights, inputs, error, squares, shift):  # type: ignore[no-untyped-def]
    """A step of normalised LMS."""
    step, half = (error << 20) // squares, 1 << (shift - 1)
    for j in range(len(weights)):
        weights[j] = clip(weights[j] + ((step * inputs[j] + half) >> shift), WEIGHT_TOP)


@compiled(forceinline=True)
def bias(biases, which, context):  # type: ignore[no-untyped-def]
    """The mean error in a context."""
    count = biases[which, context, 1]
    return biases[which, context, 0] // count if count > 0 else np.int64(0)


@compiled(forceinline=True)
def learn_bias(biases, which, context, error):  # type: ignore[no-untyped-def]
    """Adds an error to a context, older ones fading."""
    biases[which, context, 0] += error
    biases[which, context, 1] += 1
    if biases[which, context, 1] >= BIAS_USES:
        biases[which, context, 0] >>= 1
        biases[which, context, 1] >>= 1
