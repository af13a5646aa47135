"""The coefficients that travel: weighted least squares by groups of slices, rounded (NumPy, when encoding alone)."""

from __future__ import annotations

import numpy as np

from fusioninn_jax.studies.volume_codec.compiled import compiled
from fusioninn_jax.studies.volume_codec.layout import BEFORE, Neighbours
from fusioninn_jax.studies.volume_codec.prediction import COEFFICIENT_BITS, CONSTANT

GROUP = 8  # slices that share coefficients; the first two of a slab, which lack slices before them, have their own
SAMPLES = 2000  # voxels a group is fitted to
ROUNDS = 8  # of reweighting; that more of them help is seen in series with little noise, by several per cent
SHARED = 0.5  # groups' worth of the whole slab that pulls each group
RIDGE = 1e-9  # of the mean square
STEEPEST = 2**25
LARGEST, SIGNIFICANT = 2.0**26, 9  # number and its bits in the decorrelation
CLASSES, LEAST = 20, 0.3  # of local contrast; part of the usual error below which errors weigh alike


def groups(slices: int) -> np.ndarray:
    """The group of each slice of a slab of so many `slices`, margins included."""
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
      near: which neighbours the predictions look at.
    """
    places = np.flatnonzero(content)
    group = groups(len(own) // area)
    samples = [_sample(places[group[places // area] == i]) for i in range(group.max() + 1)]
    counts = np.array([np.count_nonzero(group[places // area] == i) for i in range(len(samples))])
    inputs = [_inputs(own, known, sample, near) for sample in samples]
    contrasts = [x[:, :6].std(1) for x in inputs]
    coefficients = _solve(inputs, [1 / (contrast + 1) ** 2 for contrast in contrasts], counts)
    for _ in range(ROUNDS):
        weights = [_reweigh(*group) for group in zip(inputs, contrasts, coefficients, strict=True)]
        coefficients = _solve(inputs, weights, counts)
    weights = [w * count / max(1, len(w)) for w, count in zip(weights, counts, strict=True)]
    return coefficients, *_products(known, samples, inputs, coefficients, weights, near)


def _sample(places: np.ndarray) -> np.ndarray:
    return places[:: max(1, len(places) // SAMPLES)]


def _inputs(own: np.ndarray, known: np.ndarray, places: np.ndarray, near: Neighbours) -> np.ndarray:
    """(voxels, inputs + 2): neighbours, a constant, the voxel itself."""
    inputs = np.empty((len(places), len(near.own) + len(near.known) + 2))
    inputs[:, : len(near.own)] = own[places[:, None] + near.own]
    inputs[:, len(near.own) : -2] = known[places[:, None] + near.known]
    inputs[:, -2], inputs[:, -1] = CONSTANT, own[places]
    return inputs


@compiled()
def _add_products(total, rows, weights):  # type: ignore[no-untyped-def]
    """Adds the weighted products of every two columns, below the diagonal; the number of rows is a multiple of 4."""
    for s in range(0, len(rows), 4):
        r0, r1, r2, r3 = rows[s], rows[s + 1], rows[s + 2], rows[s + 3]
        for i in range(rows.shape[1]):
            sums, f0, f1 = total[i], weights[s] * r0[i], weights[s + 1] * r1[i]
            f2, f3 = weights[s + 2] * r2[i], weights[s + 3] * r3[i]
            for j in range(i + 1):
                sums[j] += f0 * r0[j] + f1 * r1[j] + f2 * r2[j] + f3 * r3[j]


def _squares(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """rows.T @ (weights · rows). The slabs have a thread each; BLAS would start more, which wait for one another."""
    missing = -len(rows) % 4
    total = np.zeros((rows.shape[1], rows.shape[1]))
    _add_products(total, np.pad(rows, ((0, missing), (0, 0))), np.pad(weights, (0, missing)))
    return total + np.tril(total, -1).T


def _predicted(inputs: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """The linear predictions, without BLAS."""
    return np.einsum("ij,j->i", inputs[:, :-1], coefficients / 2**COEFFICIENT_BITS)


def _solve(inputs: list[np.ndarray], weights: list[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """(groups, inputs + 1) int64 coefficients; each group is pulled towards that of all full groups."""
    width = inputs[0].shape[1] - 1
    squares = np.zeros((len(inputs), width + 1, width + 1))
    for i in np.flatnonzero(counts).tolist():
        squares[i] = _squares(inputs[i], weights[i] * counts[i] / len(weights[i]))
    usual = slice(2, None) if len(inputs) > 2 else slice(None)
    pull = squares[usual].sum(0) * SHARED / len(inputs)
    result = np.zeros((len(inputs), width), np.int64)
    for i in np.flatnonzero(counts).tolist():
        matrix = squares[i] + pull * (i >= 2)
        inner = matrix[:width, :width]
        inner[np.diag_indices(width)] += RIDGE * np.diag(inner).mean() + 1e-9
        result[i] = np.rint(_solution(inner, matrix[width, :width]) * 2**COEFFICIENT_BITS).clip(-STEEPEST, STEEPEST)
    return result


def _solution(matrix: np.ndarray, products: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrix, products)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(matrix, products, rcond=None)[0]


def _reweigh(inputs: np.ndarray, contrast: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Weights that make a square count as an error's bits do, about log(error + half of the error usual for such local
    contrast)."""
    if not len(inputs):
        return np.zeros(0)
    errors = np.abs(inputs[:, -1] - _predicted(inputs, coefficients))
    classes = np.digitize(contrast, np.quantile(contrast, np.linspace(0, 1, CLASSES + 1)[1:-1]))
    number = np.maximum(1, np.bincount(classes, minlength=CLASSES))
    usual = (np.bincount(classes, errors, CLASSES) / number + LEAST)[classes]
    return 1 / ((errors + usual / 2) * np.maximum(errors, LEAST * usual))


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
        prediction = _predicted(inputs[i], coefficients[i])
        differences[:, : len(own)] -= np.rint(prediction)[:, None]
        differences[:, len(own) :] -= known[samples[i][:, None] + near.reference[inside - len(near.own)]]
        total += _squares(differences, weights[i])
        weight_sum += float(weights[i].sum())
    return total, weight_sum


def decorrelation(products: np.ndarray, weight_sum: float) -> np.ndarray:
    """(adapted, adapted) lower triangle, in 16 bits after the point, SIGNIFICANT ones of each number.

    It makes the differences uncorrelated, of mean square 256².

    Args:
      products: of the slabs' differences, weighted and summed, see `fit`.
      weight_sum: of their weights.
    """
    mean = products / max(weight_sum, 1e-300)
    mean[np.diag_indices(len(mean))] += 1e-4 * np.diag(mean).mean() + 1e-3
    triangle = np.tril(np.linalg.inv(np.linalg.cholesky(mean)) * 256 * 65536).clip(-LARGEST, LARGEST)
    exponent = np.frexp(triangle)[1]
    exponent = np.maximum(0, exponent - SIGNIFICANT)
    return np.rint(np.ldexp(triangle, -exponent)).astype(np.int64) << exponent
