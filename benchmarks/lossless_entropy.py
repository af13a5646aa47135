"""What a volume should cost by an estimate that knows nothing of the codec: a bound to hold its bytes against.

Each slice is predicted by plain least squares from its neighbours already known, in the volume itself and in the
volumes given, with coefficients of its own that cost nothing; what the rounded prediction misses has the entropy of its
histogram, one for each of CLASSES of the errors beside it. The background's shape has the entropy of its histogram
given the voxels beside it. No bias is cancelled, nothing adapts, no decision is settled by the picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fusioninn_jax.studies.volume_codec import layout
from fusioninn_jax.studies.volume_codec.layout import BEFORE, BEHIND, MARGIN

CLASSES = 32
BESIDE = ((0, 0, -1), (0, -1, 0), (0, -1, -1), (0, -1, 1), (-1, 0, 0), (-1, 0, 1), (-1, 1, 0))


def estimate(volume: np.ndarray, given: Sequence[np.ndarray]) -> float:
    """Bytes.

    Args:
      volume: (Z, H, W) integers, its smallest value the background.
      given: volumes of its shape, known wholly.
    """
    levels = volume.astype(np.int64) - int(volume.min())
    own, known = layout.padded(levels), [layout.padded(other.astype(np.int64) - int(other.min())) for other in given]
    content = own > 0
    errors, places = _errors(own, content, known)
    near = _differences(BESIDE, own.shape)
    activity = np.abs(errors.ravel())[places[:, None] + near].sum(1)
    classes = np.digitize(activity, np.unique(np.quantile(activity, np.linspace(0, 1, CLASSES + 1)[1:-1])))
    found = errors.ravel()[places]
    bits = sum(_entropy(found[classes == i]) for i in np.unique(classes)) + _mask_bits(content, near, known)
    return bits / 8


def _differences(offsets: Sequence[tuple[int, int, int]], shape: tuple[int, ...]) -> np.ndarray:
    return np.array(offsets) @ np.array([shape[1] * shape[2], shape[2], 1])


def _errors(own: np.ndarray, content: np.ndarray, known: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What the prediction of each content voxel misses, 0 elsewhere; and where these are."""
    errors, flat, area = np.zeros(own.shape, np.int64), own.ravel(), own.shape[1] * own.shape[2]
    own_near, known_near = _differences(layout.OWN, own.shape), _differences(layout.KNOWN, own.shape)
    places = np.flatnonzero(content)
    for z in range(BEFORE, len(own) - BEHIND):
        inside = places[places // area == z]
        if len(inside):
            parts = [flat[inside[:, None] + own_near]]
            parts += [other.ravel()[inside[:, None] + known_near] for other in known]
            inputs = np.concatenate([*parts, np.ones((len(inside), 1), np.int64)], 1).astype(np.float64)
            coefficients = np.linalg.lstsq(inputs.T @ inputs, inputs.T @ flat[inside], rcond=1e-12)[0]
            errors.ravel()[inside] = flat[inside] - np.rint(inputs @ coefficients).astype(np.int64)
    return errors, places


def _entropy(values: np.ndarray) -> float:
    """Bits of values under their own histogram."""
    counts = np.unique(values, return_counts=True)[1]
    return float((counts * np.log2(counts.sum() / counts)).sum())


def _mask_bits(content: np.ndarray, near: np.ndarray, known: list[np.ndarray]) -> float:
    """Bits of the background's shape, given the voxels beside it and where the known volumes have content."""
    inner = np.zeros(content.shape, bool)
    inner[BEFORE:-BEHIND, MARGIN:-MARGIN, MARGIN:-MARGIN] = True
    places = np.flatnonzero(inner)
    context = content.ravel()[places[:, None] + near] @ (1 << np.arange(len(near)))
    for other in known:
        context = context * 2 + (other.ravel()[places] > 0)
    flags = content.ravel()[places]
    totals, ones = np.bincount(context), np.bincount(context, flags)
    zeros = totals - ones
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.nansum(ones * np.log2(totals / ones)) + np.nansum(zeros * np.log2(totals / zeros)))
