"""Separable filters of images as products with small constant matrices, one for rows and one for columns.

Borders are then exact, odd sizes need no special case, and the transpose of an orthogonal transform inverts it.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

# Burt & Adelson 1983, eq. 3 with a = 0.4: the generating kernel whose repeated use comes close to a Gaussian.
BURT_ADELSON = (0.05, 0.25, 0.4, 0.25, 0.05)

_ROOT3 = np.sqrt(3.0)
# Low-pass analysis filters of Daubechies 1992, table 6.1, in the order that y[k] = sum_j h[j] x[n/2 + 2k - j] uses.
DAUBECHIES = {
    "db1": np.array([1.0, 1.0]) / np.sqrt(2.0),
    "db2": np.array([1 - _ROOT3, 3 - _ROOT3, 3 + _ROOT3, 1 + _ROOT3]) / (4 * np.sqrt(2.0)),
}


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


@functools.cache
def reduce_matrix(size: int) -> np.ndarray:
    """(ceil(`size` / 2), size): blur with BURT_ADELSON, mirrored at the borders, and keep every other sample."""
    positions = 2 * np.arange((size + 1) // 2)[:, None] + np.arange(-2, 3)
    return _scatter_rows(positions, np.array(BURT_ADELSON), size)


@functools.cache
def expand_matrix(size: int) -> np.ndarray:
    """(`size`, ceil(size / 2)): zeros between samples, then twice BURT_ADELSON, mirrored at the borders."""
    positions = np.arange(size)[:, None] + np.arange(-2, 3)
    return 2 * _scatter_rows(positions, np.array(BURT_ADELSON), size)[:, ::2]


def _scatter_rows(positions: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Matrix whose row r adds weights[j] at positions[r, j] mirrored into 0 ... size - 1 (size at least 2)."""
    period = 2 * (size - 1)
    mirrored = np.abs((positions + size - 1) % period - (size - 1))
    matrix = np.zeros((len(positions), size))
    np.add.at(matrix, (np.arange(len(positions))[:, None], mirrored), weights)
    return matrix


# A library would be better kept, but PyWavelets computes in NumPy: it can be neither jitted, batched on an accelerator,
# nor put under vmap. An orthogonal periodic transform is one constant matrix per axis, whose transpose inverts it.
@functools.cache
def dwt_matrix(size: int, name: str) -> np.ndarray:
    """One level of the periodic discrete wavelet transform as an orthogonal (size, size) matrix.

    The first half of the rows gives the approximation, the second half the detail; PyWavelets' mode 'periodization'.
    `size`: even, in pixels; `name`: a key of DAUBECHIES.
    """
    low = DAUBECHIES[name]
    taps, half = np.arange(len(low)), np.arange(size // 2)[:, None]
    positions = (len(low) // 2 + 2 * half - taps) % size
    matrix = np.zeros((size, size))
    np.add.at(matrix, (half, positions), low)
    np.add.at(matrix, (size // 2 + half, positions), (-1.0) ** (taps + 1) * low[::-1])
    return matrix


@functools.cache
def average_matrix(size: int, radius: int, sigma: float) -> np.ndarray:
    """(`size`, size) Gaussian average over 2 · `radius` + 1 samples, over fewer where the window leaves the image.

    `sigma`: in samples; infinite for equal weights.
    """
    distance = np.abs(np.arange(size)[:, None] - np.arange(size))
    weights = np.where(distance <= radius, np.exp(-(distance**2) / (2 * sigma**2)), 0)
    return weights / weights.sum(1, keepdims=True)
