"""Squeeze: each 2x2 cell of pixels becomes four channels, without loss.

Forward: (B, H, W, C) -> (B, H/2, W/2, 4C); for each input channel in turn, its pixels (0,0), (0,1), (1,0), (1,1).
Inverse: back. log-det = 0: only the order of the elements changes.
Source: Dinh et al. 2016, "Density estimation using Real NVP", section 3.6; channel order of FrEIA's downsampling.
"""

from __future__ import annotations

import jax

from fusioninn_jax.bijections.base import Bijection, checked, no_log_det, parameterless


def checked_cells(taker: str, y: jax.Array) -> jax.Array:
    """`y` where it is (B, h, w, 4C), floats; otherwise an error that names `taker`, see `checked`."""
    return checked(taker, y, "(B, h, w, 4C)", lambda shape: len(shape) == 4 and shape[-1] % 4 == 0)


def squeeze_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, H, W, C) -> (B, H/2, W/2, 4C); returns (y, zeros (B,)).

    Args:
      x: (B, H, W, C), floats; H and W even.

    Raises:
      TypeError: `x` holds integers.
      ValueError: not four axes, or H or W odd.
    """
    x = checked("squeeze", x, "(B, H, W, C)", lambda shape: len(shape) == 4)
    batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        raise ValueError(f"squeeze needs an even height and width; got {height}x{width}: pad the image first")
    cells = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    return cells.reshape(batch, height // 2, width // 2, 4 * channels), no_log_det(x)


def squeeze_inverse(y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, h, w, 4C) -> (B, 2h, 2w, C); returns (x, zeros (B,)).

    Args:
      y: (B, h, w, 4C), floats.

    Raises:
      TypeError: `y` holds integers.
      ValueError: not four axes, or the channels are no multiple of 4.
    """
    y = checked_cells("unsqueeze", y)
    batch, height, width, channels = y.shape
    cells = y.reshape(batch, height, width, channels // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return cells.reshape(batch, 2 * height, 2 * width, channels // 4), no_log_det(y)


def squeeze() -> Bijection:
    """Squeeze as a Bijection without parameters."""
    return parameterless(squeeze_forward, squeeze_inverse)


def unsqueeze() -> Bijection:
    """The inverse of `squeeze` as a Bijection without parameters."""
    return parameterless(squeeze_inverse, squeeze_forward)
