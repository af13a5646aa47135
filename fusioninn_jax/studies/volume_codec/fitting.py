"""The coefficients that travel: weighted least squares by groups of slices, rounded (NumPy, when encoding alone)."""

from __future__ import annotations

import numpy as np

from fusioninn_jax.studies.volume_codec.layout import BEFORE, Neighbours
from fusioninn_jax.studies.volume_codec.prediction import COEFFICIENT_BITS, CONSTANT

GROUP = 8  # slices that share coefficients; the first two of a slab, which lack slices before them, have their own
SAMPLES = 5000  # voxels a group is fitted to
ROUNDS = 2  # of reweighting
SHARED = 0.5  # groups' worth of the whole slab that pulls each group
RIDGE = 1e-9  # of the mean square
STEEPEST = 2**25
LARGEST, SIGNIFICANT = 2.0**26, 9  # number and its bits in the decorrelation
CLASSES, LEAST = 20, 0.3  # of local contrast; part of the usual error below which errors weigh alike


def groups(slices: int) -> np.ndarray:
    """The group of each slice of a slab, margins included."""
    group = np.zeros(slices, np.int64)
    group[BEFORE + 1 :] = 1
    group[BEFORE + 2 :] = 2 + np.arange(max(0, slices - BEFORE - 2)) // GROUP
    return group


def fit(
    own: np.ndarray, known: np.ndarray, content: np.ndarray, area: int, near: Neighbours
) -> tuple[np.ndarray, np.ndarray, float]:
    """Coefficients (groups, inputs + 1) for a slab; its sum of weighted products of differences, and of weights.

    Args:
      own, known: flat, filled in; content: flat flags.
      area: of a slice with its margins.
    """
    places = np.flatnonzero(content)
    group = groups(len(own) // area)
    samples = [_sample(places[group[places // area] == i]) for i in range(group.max() + 1)]
    counts = np.array([np.count_nonzero(group[places // area] == i) for i in range(len(samples))])
    inputs = [_inputs(own, known, sample, near) for sample in samples]
    targets = [own[sample].astype(np.float64) for sample in samples]
    weights = [1 / (x[:, :6].std(1) + 1) ** 2 for x in inputs]
    coefficients = _solve(inputs, targets, weights, counts)
    for _ in range(ROUNDS):
        weights = [_reweigh(x, t, c) for x, t, c in zip(inputs, targets, coefficients, strict=True)]
        coefficients = _solve(inputs, targets, weights, counts)
    weights = [w * count / max(1, len(w)) for w, count in zip(weights, counts, strict=True)]
    return coefficients, *_products(known, samples, inputs, coefficients, weights, near)


def _sample(places: np.ndarray) -> np.ndarray:
    return places[:: max(1, len(places) // SAMPLES)]


def _inputs(own: np.ndarray, known: np.ndarray, places: np.ndarray, near: Neighbours) -> np.ndarray:
    """(voxels, inputs + 1): neighbours and a constant."""
    inputs = np.full((len(places), len(near.own) + len(near.known) + 1), float(CONSTANT))
    inputs[:, : len(near.own)] = own[places[:, None] + near.own]
    inputs[:, len(near.own) : -1] = known[places[:, None] + near.known]
    return inputs


def _solve(
    inputs: list[np.ndarray], targets: list[np.ndarray], weights: list[np.ndarray], counts: np.ndarray
) -> np.ndarray:
    """(groups, inputs + 1) int64 coefficients; each group is pulled towards that of all full groups."""
    width = inputs[0].shape[1]
    squares, products = np.zeros((len(inputs), width, width)), np.zeros((len(inputs), width))
    for i, (x, t, w) in enumerate(zip(inputs, targets, weights, strict=True)):
        if len(t):
            weighted = x * (w * counts[i] / len(t))[:, None]
            squares[i], products[i] = x.T @ weighted, weighted.T @ t
    usual = slice(2, None) if len(inputs) > 2 else slice(None)
    pull, pull_products = (part[usual].sum(0) * SHARED / len(inputs) for part in (squares, products))
    result = np.zeros((len(inputs), width), np.int64)
    for i in np.flatnonzero(counts).tolist():
        matrix = squares[i] + pull * (i >= 2)
        matrix[np.diag_indices(width)] += RIDGE * np.diag(matrix).mean() + 1e-9
        solution = np.linalg.lstsq(matrix, products[i] + pull_products * (i >= 2), rcond=None)[0]
        result[i] = np.rint(solution * 2**COEFFICIENT_BITS).clip(-STEEPEST, STEEPEST)
    return result


def _reweigh(inputs: np.ndarray, targets: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Weights that make squares count as absolute errors against the error usual for such local contrast."""
    if not len(targets):
        return np.zeros(0)
    errors = np.abs(targets - inputs @ (coefficients / 2**COEFFICIENT_BITS))
    contrast = inputs[:, :6].std(1)
    classes = np.digitize(contrast, np.quantile(contrast, np.linspace(0, 1, CLASSES + 1)[1:-1]))
    number = np.maximum(1, np.bincount(classes, minlength=CLASSES))
    usual = (np.bincount(classes, errors, CLASSES) / number + LEAST)[classes]
    return 1 / (usual * np.maximum(errors, LEAST * usual))


def _products(
    known: np.ndarray,
    samples: list[np.ndarray],
    inputs: list[np.ndarray],
    coefficients: np.ndarray,
    weights: list[np.ndarray],
    near: Neighbours,
) -> tuple[np.ndarray, float]:
    """Weighted products of the adapted differences, summed over all groups but the first slice's."""
    count = len(near.adapted)
    own, inside = near.adapted[near.adapted < len(near.own)], near.adapted[near.adapted >= len(near.own)]
    total, weight_sum = np.zeros((count, count)), 0.0
    for i in range(min(1, len(samples) - 1), len(samples)):
        differences = inputs[i][:, near.adapted]
        prediction = inputs[i] @ (coefficients[i] / 2**COEFFICIENT_BITS)
        differences[:, : len(own)] -= np.rint(prediction)[:, None]
        differences[:, len(own) :] -= known[samples[i][:, None] + near.reference[inside - len(near.own)]]
        total += differences.T @ (differences * weights[i][:, None])
        weight_sum += float(weights[i].sum())
    return total, weight_sum


def decorrelation(products: np.ndarray, weight_sum: float) -> np.ndarray:
    """(adapted, adapted) lower triangle, in 16 bits after the point, SIGNIFICANT ones of each number.

    It makes the differences uncorrelated, of mean square 256².
    """
    mean = products / max(weight_sum, 1e-300)
    mean[np.diag_indices(len(mean))] += 1e-4 * np.diag(mean).mean() + 1e-3
    triangle = np.tril(np.linalg.inv(np.linalg.cholesky(mean)) * 256 * 65536).clip(-LARGEST, LARGEST)
    exponent = np.frexp(triangle)[1]
    exponent = np.maximum(0, exponent - SIGNIFICANT)
    return np.rint(np.ldexp(triangle, -exponent)).astype(np.int64) << exponent
