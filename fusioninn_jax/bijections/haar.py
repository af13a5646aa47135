"""Haar squeeze: each 2x2 cell of pixels becomes its four Haar coefficients, without loss.

Forward: (B, H, W, C) -> (B, H/2, W/2, 4C); for each input channel in turn, with the cell's pixels a b / c d:
(a + b + c + d) / 2, (a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2: the mean, and the details along the
row, along the column and along the diagonal. Inverse: back. log-det = 0: the transform is orthonormal.
Source: Ardizzone et al. 2019, "Guided image generation with conditional invertible neural networks", section 3.3.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import Bijection, parameterless
from fusioninn_jax.bijections.squeeze import checked_cells, squeeze_forward, squeeze_inverse


def _mix_cells(x: jax.Array) -> jax.Array:
    """The Haar transform of each group of four channels; applied twice it does nothing."""
    cells = x.reshape(*x.shape[:-1], x.shape[-1] // 4, 4)
    a, b, c, d = (cells[..., i] for i in range(4))
    upper, lower, across, below = a + b, c + d, a - b, c - d
    return (jnp.stack([upper + lower, across + below, upper - lower, across - below], -1) / 2).reshape(x.shape)


def haar_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, H, W, C) -> (B, H/2, W/2, 4C); returns (y, zeros (B,)).

    Args:
      x: (B, H, W, C), floats; H and W even.

    Raises:
      TypeError: integers.
      ValueError: not four axes, or H or W odd.
    """
    cells, log_det = squeeze_forward(x)
    return _mix_cells(cells), log_det


def haar_inverse(y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, h, w, 4C) -> (B, 2h, 2w, C); returns (x, zeros (B,)).

    Args:
      y: (B, h, w, 4C), floats.

    Raises:
      TypeError: integers.
      ValueError: not four axes, or the channels are no multiple of 4.
    """
    return squeeze_inverse(_mix_cells(checked_cells("unhaar", y)))


def haar() -> Bijection:
    """The Haar squeeze as a Bijection without parameters."""
    return parameterless(haar_forward, haar_inverse)


def unhaar() -> Bijection:
    """The inverse of `haar` as a Bijection without parameters."""
    return parameterless(haar_inverse, haar_forward)
