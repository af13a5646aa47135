"""How well one source comes back from the fused image: SSIM, peak signal-to-noise ratio, mean absolute error.

Each takes a source and its decomposed image, both (B, H, W, 1) float in [0, 1] and never quantised, and gives (B,).
A mask counts the pixels where it is true. Over whole slices the black background counts as perfectly restored, so
give the brain mask as well.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fusioninn_jax import ssim
from fusioninn_jax.metrics import _inputs, fidelity

_ssim = jax.jit(ssim.ssim)


@jax.jit
def _psnr(source: jax.Array, decomposed: jax.Array, mask: jax.Array | None) -> jax.Array:
    return fidelity.decibels(ssim.masked_mean((source - decomposed) ** 2, mask))


@jax.jit
def _mae(source: jax.Array, decomposed: jax.Array, mask: jax.Array | None) -> jax.Array:
    return ssim.masked_mean(jnp.abs(source - decomposed), mask)


def _prepare(source: ArrayLike, decomposed: ArrayLike, mask: ArrayLike | None, window: int = 1):
    images, mask = _inputs.prepare({"source": source, "decomposed": decomposed}, mask=mask, window=window)
    return *images, mask


def decomposition_ssim(source: ArrayLike, decomposed: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """SSIM of a source and its decomposed image: the decomposition columns of the FusionINN paper's Table 2.

    Rewards restored structure. Trap: blind to what SSIM is blind to: faint lesions in a bright neighbourhood.

    Args:
      source: (B, H, W, 1) in [0, 1], H and W at least 11.
      decomposed: the same shape.
      mask: (B, H, W, 1), true where a pixel counts (as the centre of a window).

    Returns:
      (B,) in [-1, 1]; 1 for identical images, 0 for an empty mask.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.

    Source: Wang, Bovik, Sheikh, Simoncelli 2004, eq. 13, with an 11x11 Gaussian window of sigma 1.5.
    """
    source, decomposed, mask = _prepare(source, decomposed, mask, ssim.WINDOW)
    return _ssim(source, decomposed, mask=mask)


def decomposition_psnr(source: ArrayLike, decomposed: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Peak signal-to-noise ratio of a source and its decomposed image, 10 log10(1 / mean((x - d)^2)).

    Rewards small errors everywhere alike, large ones least of all forgiven. Trap: each tenfold of background adds
    ten decibels.

    Args:
      source: (B, H, W, 1) in [0, 1].
      decomposed: the same shape.
      mask: (B, H, W, 1), true where a pixel counts.

    Returns:
      (B,) decibels in [0, 100]; 100, not infinity, for identical images and for an empty mask.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.
    """
    return _psnr(*_prepare(source, decomposed, mask))


def decomposition_mae(source: ArrayLike, decomposed: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Mean absolute error of a source and its decomposed image, mean(|x - d|), in units of the range [0, 1].

    Rewards (when small) right intensities. Trap: falls with the share of background.

    Args:
      source: (B, H, W, 1) in [0, 1].
      decomposed: the same shape.
      mask: (B, H, W, 1), true where a pixel counts.

    Returns:
      (B,) in [0, 1], lower is better; 0 for identical images and for an empty mask.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.
    """
    return _mae(*_prepare(source, decomposed, mask))
