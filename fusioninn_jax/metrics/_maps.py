"""Per-image means of quality maps, and numerically safe local statistics under the Gaussian window of SSIM."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable

import jax
import jax.numpy as jnp
from jax import lax

from fusioninn_jax.ssim import GAUSSIAN, WINDOW, band_matrix

_TAPS = tuple((GAUSSIAN / GAUSSIAN.sum()).tolist())


def add_all(terms: Iterable[jax.Array]) -> jax.Array:
    """The sum of `terms`, one by one: an unrolled sum that XLA fuses, and, unlike `sum`, one that starts from no 0."""
    return functools.reduce(operator.add, terms)


def central_cut(values: jax.Array, radius: int, border: int = 0) -> jax.Array:
    """Rows and columns size//2 - radius … size//2 + radius (0-based, of the whole image) of a (B, h, w, 1) map.

    Args:
      values: a map that lacks `border` pixels of the image on each side.
      radius: half the side of the square.
      border: 0 for a map of the image's size.

    Raises:
      ValueError: the map does not reach that far.
    """
    top, left = ((size + 2 * border) // 2 - radius - border for size in values.shape[1:3])
    side = 2 * radius + 1
    if min(top, left) < 0 or top + side > values.shape[1] or left + side > values.shape[2]:
        smallest = side + 2 * border
        raise ValueError(f"the central {side}x{side} pixels need images of at least {smallest}x{smallest}")
    return values[:, top : top + side, left : left + side]


def _total(values: jax.Array) -> jax.Array:
    """Sum of a (B, h, w, 1) map per image.

    Rows are summed by a matrix product. Under a plain sum XLA on a CPU computes the whole map inside one sequential,
    unvectorised reduction loop, which makes a metric three to ten times slower.
    """
    ones = jnp.ones(values.shape[2], values.dtype)
    return jnp.einsum("bhwc,w->bh", values, ones, precision="highest").sum(1)


def map_mean(values: jax.Array, mask: jax.Array | None, border: int = 0) -> jax.Array:
    """Mean of a quality map per image, over all of it or over the pixels where `mask` is true.

    Args:
      values: (B, h, w, 1), the map of the region that `border` pixels on each side leave.
      mask: (B, H, W, 1) bool of the whole image. None: every pixel.
      border: pixels that the map lacks on each side.

    Returns:
      (B,); 0 for an image whose mask is empty.
    """
    if mask is None:
        return _total(values) / (values.shape[1] * values.shape[2])
    height, width = mask.shape[1:3]
    inside = mask[:, border : height - border, border : width - border]
    return _total(jnp.where(inside, values, 0)) / jnp.maximum(_total(inside.astype(values.dtype)), 1)


def _mean_along(x: jax.Array, axis: int) -> jax.Array:
    band = jnp.asarray(band_matrix(x.shape[axis], _TAPS), x.dtype)
    return jnp.einsum("kH,bHWc->bkWc" if axis == 1 else "kW,bHWc->bHkc", band, x, precision="highest")


def _variance_along(x: jax.Array, mean: jax.Array, axis: int) -> jax.Array:
    length = mean.shape[axis]
    taps = (lax.slice_in_dim(x, start, start + length, axis=axis) for start in range(WINDOW))
    return add_all(weight * (tap - mean) ** 2 for weight, tap in zip(_TAPS, taps, strict=True))


def local_mean_variance(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gaussian mean and variance at every valid position of `x`, (B, H, W, 1), each (B, H - 10, W - 10, 1).

    By the law of total variance over the separable window: the mean over rows of the variance along a row, plus the
    variance over rows of the row means. Both are sums of squares about a mean, so nothing cancels as it does in
    E[x²] - E[x]², where float32 leaves errors near 0.01 on 0..255 images.
    """
    row_mean = _mean_along(x, 2)
    mean = _mean_along(row_mean, 1)
    within = _mean_along(_variance_along(x, row_mean, 2), 1)
    return mean, within + _variance_along(row_mean, mean, 1)
