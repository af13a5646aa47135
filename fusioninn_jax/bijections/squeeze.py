"""Squeeze: each 2x2 cell of pixels becomes four channels, without loss.

Forward: (B, H, W, C) -> (B, H/2, W/2, 4C); for each input channel in turn, its pixels (0,0), (0,1), (1,0), (1,1).
Inverse: back. log-det = 0: only the order of the elements changes.
Source: Dinh et al. 2016, "Density estimation using Real NVP", section 3.6; channel order of FrEIA's downsampling.
"""
from __future__ import annotations

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import Bijection, no_params


def squeeze_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, H, W, C) -> (B, H/2, W/2, 4C); returns (y, zeros (B,)).

    Raises:
      ValueError: not four axes, or H or W odd.
    """
    if x.ndim != 4:
        raise ValueError(f"squeeze takes (B, H, W, C); got shape {x.shape}")
    batch, height, width, channels = x.shape
    if height % 2 or width % 2:
        raise ValueError(f"squeeze needs an even height and width; got {height}x{width}: pad the image first")
    cells = x.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 5, 2, 4)
    return cells.reshape(batch, height // 2, width // 2, 4 * channels), jnp.zeros(batch, x.dtype)


def squeeze_inverse(y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(B, h, w, 4C) -> (B, 2h, 2w, C); returns (x, zeros (B,)).

    Raises:
      ValueError: not four axes, or the channels are no multiple of 4.
    """
    if y.ndim != 4 or y.shape[-1] % 4:
        raise ValueError(f"unsqueeze takes (B, h, w, 4C); got shape {y.shape}")
    batch, height, width, channels = y.shape
    cells = y.reshape(batch, height, width, channels // 4, 2, 2).transpose(0, 1, 4, 2, 5, 3)
    return cells.reshape(batch, 2 * height, 2 * width, channels // 4), jnp.zeros(batch, y.dtype)


def squeeze() -> Bijection:
    """Squeeze as a Bijection without parameters."""
    return Bijection(no_params, lambda params, x: squeeze_forward(x), lambda params, y: squeeze_inverse(y))


def unsqueeze() -> Bijection:
    """The inverse of `squeeze` as a Bijection without parameters."""
    return Bijection(no_params, lambda params, x: squeeze_inverse(x), lambda params, y: squeeze_forward(y))
