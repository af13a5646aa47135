"""Likeness of the fused image to its sources: mean squared error, peak signal-to-noise ratio, sum of SSIM.

Images are (B, H, W, 1) float in [0, 1]; results are (B,). A mask counts the pixels where it is true; an empty one
gives an error of 0.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fusioninn_jax import ssim
from fusioninn_jax.metrics import _inputs

# The decibels of two identical images. A smaller error than this, 1e-5 of the range, is float32 rounding; without a
# limit one blank slice would make every mean over images infinite.
PSNR_LIMIT = 100.0


def decibels(mean_square: jax.Array) -> jax.Array:
    """Peak signal-to-noise ratio of the error `mean_square` at peak 1, at most PSNR_LIMIT."""
    return -10 * jnp.log10(jnp.maximum(mean_square, 10 ** (-PSNR_LIMIT / 10)))


@functools.partial(jax.jit, static_argnames="quantize")
def _mse(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None, *, quantize: bool) -> jax.Array:
    x1, x2, fused = (_inputs.to_8bit(image, quantize=quantize) / 255 for image in (x1, x2, fused))
    return ssim.masked_mean(((x1 - fused) ** 2 + (x2 - fused) ** 2) / 2, mask)


def mse(
    x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, *, mask: ArrayLike | None = None, quantize: bool = True
) -> jax.Array:
    """Mean squared error (MSE): (mean((x1 - y)^2) + mean((x2 - y)^2)) / 2, in units of the range [0, 1].

    Rewards (when small) closeness to both sources. Trap: the plain mean of the sources minimises it, whatever they
    show, so it ranks every system that keeps contrast below the mean. Some papers give it in squared grey levels:
    multiply by 255^2 = 65 025.

    Args:
      x1: (B, H, W, 1) in [0, 1].
      x2: the same shape.
      fused: the same shape.
      mask: (B, H, W, 1), true where a pixel counts.
      quantize: round to 8 bits first; False keeps the gradient.

    Returns:
      (B,) in [0, 1], lower is better; 0 only when all three images are equal.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.
    """
    (x1, x2, fused), mask = _inputs.prepare({"x1": x1, "x2": x2, "fused": fused}, mask=mask)
    return _mse(x1, x2, fused, mask, quantize=quantize)


def psnr(
    x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, *, mask: ArrayLike | None = None, quantize: bool = True
) -> jax.Array:
    """Peak signal-to-noise ratio (PSNR): 10 log10(1 / MSE) of the mean error `mse`, in decibels, peak 1.

    Rewards and traps as `mse`, of which it is a function (per image; the mean over images ranks differently). Some
    papers average the two sources' decibels instead of their errors.

    Args:
      x1, x2, fused, mask, quantize: as for `mse`, which names the errors too.

    Returns:
      (B,) decibels in [0, 100]; 100, not infinity, when all three images are equal.
    """
    return decibels(mse(x1, x2, fused, mask=mask, quantize=quantize))


@jax.jit
def _ssim_sum(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None) -> jax.Array:
    return ssim.ssim(x1, fused, mask=mask) + ssim.ssim(x2, fused, mask=mask)


def ssim_sum(x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Sum of structural similarities: SSIM(x1, y) + SSIM(x2, y), on float images of range 1.

    Many fusion papers print this sum as "SSIM"; half of it is Q_SSIM. Rewards local likeness of mean, contrast and
    structure. Traps: black background scores 1 wherever it is kept; the mean of the sources is hard to beat.

    Args:
      x1: (B, H, W, 1) in [0, 1], H and W at least 11.
      x2: the same shape.
      fused: the same shape; may leave [0, 1] and is scored as it is.
      mask: (B, H, W, 1), true where a pixel counts (as the centre of a window).

    Returns:
      (B,) in [-2, 2]; 2 when all three images are equal.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.

    Source: Wang, Bovik, Sheikh, Simoncelli 2004, eq. 13, with an 11x11 Gaussian window of sigma 1.5.
    """
    (x1, x2, fused), mask = _inputs.prepare(
        {"x1": x1, "x2": x2, "fused": fused}, mask=mask, window=ssim.WINDOW, raw=("fused",)
    )
    return _ssim_sum(x1, x2, fused, mask)
