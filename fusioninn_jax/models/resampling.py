"""Separable resampling of images as products with small constant matrices, one for rows and one for columns."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np


def apply_separably(rows: np.ndarray, x: jax.Array, columns: np.ndarray) -> jax.Array:
    """`rows` @ image @ `columns`.T for every image of `x`, (..., H, W, C): rows (h, H), columns (w, W)."""
    half = jnp.einsum("hH,...HWc->...hWc", jnp.asarray(rows, x.dtype), x, precision="highest")
    return jnp.einsum("...hWc,wW->...hwc", half, jnp.asarray(columns, x.dtype), precision="highest")


@functools.cache
def bilinear_matrix(size: int, factor: int, align_corners: bool) -> np.ndarray:
    """(factor * size, size) matrix of linear interpolation.

    Args:
      size: samples of the signal.
      factor: of enlargement.
      align_corners: the first and last samples keep their places; else a sample is the middle of a pixel, and what
        lies beyond the middles of the outer pixels takes their value. As `torch.nn.functional.interpolate`.
    """
    new = factor * size
    if align_corners:
        places = np.arange(new) * (size - 1) / (new - 1)
    else:
        places = np.clip((np.arange(new) + 0.5) / factor - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(size)))


def upsample(x: jax.Array, factor: int = 2, *, align_corners: bool) -> jax.Array:
    """Bilinear enlargement of `x`: (B, H, W, C) -> (B, factor * H, factor * W, C).

    `factor` and `align_corners`: see `bilinear_matrix`.
    """
    rows, columns = (bilinear_matrix(size, factor, align_corners) for size in x.shape[1:3])
    return apply_separably(rows, x, columns)
