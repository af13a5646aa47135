"""Structural similarity, the map that the losses and the metrics share.

Images are (B, H, W, C), any real dtype, values in [0, data_range], H and W at least 11. The window is an 11x11
Gaussian of σ = 1.5 on the valid region, so maps are (B, H - 10, W - 10, C).
Source: Wang, Bovik, Sheikh, Simoncelli 2004, "Image quality assessment: from error visibility to structural
similarity", eq. 13, with K = (0.01, 0.03).
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

WINDOW = 11
K1, K2 = 0.01, 0.03

# The 11-tap Gaussian of σ = 1.5 rounded to float32 as pytorch-msssim rounds it, last tap mirrored. Its sum misses 1
# by 3e-8; that lends a flat bright region a variance of the order of 1e-8, so other last bits move a whole slice's
# mean SSIM by 1e-6, and the published scores are made with these.
_HALF_WINDOW = [
    float.fromhex(tap)
    for tap in ("0x1.0d9570p-10", "0x1.f1fe02p-8", "0x1.26eb18p-5", "0x1.bff0fep-4", "0x1.b43c3ep-3", "0x1.106560p-2")
]
GAUSSIAN = np.array(_HALF_WINDOW + _HALF_WINDOW[-2::-1])


@functools.cache
def band_matrix(size: int, taps: tuple[float, ...] = tuple(GAUSSIAN.tolist())) -> np.ndarray:
    """(`size` - n + 1, size) matrix whose product with a signal is its average by n `taps` on the valid region."""
    band = np.zeros((size - len(taps) + 1, size))
    for row in range(len(band)):
        band[row, row : row + len(taps)] = taps
    return band


def blur(x: jax.Array) -> jax.Array:
    """Gaussian blur of (B, H, W, C) on the valid region: (B, H - 10, W - 10, C).

    Two banded matrix products: matrix units and BLAS run those far faster than an 11-tap depthwise convolution.

    Args:
      x: (B, H, W, C), any range.

    Raises:
      ValueError: the image is smaller than the window.
    """
    height, width = x.shape[1:3]
    if min(height, width) < WINDOW:
        raise ValueError(f"images of {height}x{width} are smaller than the {WINDOW}x{WINDOW} window")
    rows = jnp.asarray(band_matrix(height), x.dtype)
    columns = jnp.asarray(band_matrix(width), x.dtype)
    half = jnp.einsum("hH,bHWc->bhWc", rows, x, precision="highest")
    return jnp.einsum("bhWc,wW->bhwc", half, columns, precision="highest")


class Moments(NamedTuple):
    """Local mean and raw second moment of an image under the window, each (B, H - 10, W - 10, C)."""

    mean: jax.Array
    square: jax.Array


def moments(x: jax.Array) -> Moments:
    """The moments of (B, H, W, C) that every SSIM against it needs; compute once, use for each partner.

    Args:
      x: in [0, 1], or in the data range that the SSIM is told.
    """
    return Moments(blur(x), blur(x * x))


def ssim_map_from_moments(of_a: Moments, of_b: Moments, cross: jax.Array, *, data_range: float = 1.0) -> jax.Array:
    """SSIM map of two images from their moments.

    Source: Wang et al. 2004, "Image quality assessment: from error visibility to structural similarity", eq. 13.

    Args:
      of_a, of_b: `moments` of the images.
      cross: `blur(a * b)`.
      data_range: the images' span, L in the paper.

    Returns:
      (B, H - 10, W - 10, C), in [-1, 1].
    """
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_product = of_a.mean * of_b.mean
    mean_squares = of_a.mean**2 + of_b.mean**2
    variances = of_a.square + of_b.square - mean_squares
    luminance = (2 * mean_product + c1) / (mean_squares + c1)
    return luminance * (2 * (cross - mean_product) + c2) / (variances + c2)


def ssim_map(a: jax.Array, b: jax.Array, *, data_range: float = 1.0) -> jax.Array:
    """SSIM at every valid window position.

    Args:
      a, b: (B, H, W, C), in [0, data_range].
      data_range: the images' span.

    Returns:
      (B, H - 10, W - 10, C), in [-1, 1].
    """
    return ssim_map_from_moments(moments(a), moments(b), blur(a * b), data_range=data_range)


def masked_mean(values: jax.Array, mask: jax.Array | None, border: int = 0) -> jax.Array:
    """Mean of a (B, h, w, c) map per image, over all of it or over the pixels where `mask` is true.

    Args:
      values: a map of the valid region.
      mask: (B, H, W) or (B, H, W, 1) of the whole image; its border is cut off to fit the map. None: every pixel.
      border: pixels that the valid region lacks on each side.

    Returns:
      (B,); 0 for an image whose mask is empty.
    """
    if mask is None:
        return values.mean(axis=(1, 2, 3))
    inside = mask.reshape(mask.shape[:3])[:, border : mask.shape[1] - border, border : mask.shape[2] - border, None]
    weights = jnp.broadcast_to(inside, values.shape).astype(values.dtype)
    return (values * weights).sum((1, 2, 3)) / jnp.maximum(weights.sum((1, 2, 3)), 1)


def ssim(
    a: jax.Array,
    b: jax.Array,
    *,
    data_range: float = 1.0,
    mask: jax.Array | None = None,
    known: tuple[Moments, Moments] | None = None,
) -> jax.Array:
    """Mean SSIM per image.

    Args:
      a: (B, H, W, C) images in [0, data_range].
      b: the same shape.
      data_range: the images' span, L in the paper.
      mask: (B, H, W) or (B, H, W, 1), true where a pixel counts; None counts all.
      known: `moments` of `a` and of `b`, where the caller compares an image with several.

    Returns:
      (B,) in [-1, 1]; 1 for identical images.

    Raises:
      ValueError: shapes differ, or the images are smaller than 11x11.
    """
    if a.shape != b.shape:
        raise ValueError(f"shapes differ: {a.shape} and {b.shape}")
    of_a, of_b = known or (moments(a), moments(b))
    return masked_mean(ssim_map_from_moments(of_a, of_b, blur(a * b), data_range=data_range), mask, WINDOW // 2)
