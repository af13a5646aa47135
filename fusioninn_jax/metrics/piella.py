"""Q_P: Piella and Heijmans' fusion quality index, SSIM to the locally more salient source.

Images are (B, H, W, 1) or (B, H, W), values in [0, 1], scored as 0..255; the result is (B,).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fusioninn_jax.metrics._inputs import check_variant, prepare, to_8bit
from fusioninn_jax.metrics._maps import central_cut, local_mean_variance, map_mean
from fusioninn_jax.ssim import K1, K2, WINDOW

CENTRE_RADIUS = 5  # the published numbers come from the central 11x11 pixels
FLAT_VARIANCE = 0.01  # in grey levels squared; below it a variance is rounding noise and its quotient arbitrary
C1, C2 = (K1 * 255) ** 2, (K2 * 255) ** 2
VARIANTS = ("toolbox", "fusioninn", "weighted", "edge")


def _similarity(mean_a: jax.Array, mean_b: jax.Array, variances: jax.Array, of_sum: jax.Array) -> jax.Array:
    """SSIM from two images' means, the sum of their variances and the variance of their sum.

    2 cov(a, b) = var(a + b) - var(a) - var(b), good to rounding relative to the denominator it is divided by.
    """
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance * (of_sum - variances + C2) / (variances + C2)


def _quality(x1: jax.Array, x2: jax.Array, fused: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The map λ SSIM(fused, x1) + (1 - λ) SSIM(fused, x2), and the saliency max(σ1², σ2²) of its pixels."""
    moments = local_mean_variance(jnp.concatenate([x1, x2, fused, x1 + fused, x2 + fused]))
    (mean1, mean2, mean, *_), (variance1, variance2, variance, sum1, sum2) = (jnp.split(part, 5) for part in moments)
    salient1, salient2 = (jnp.where(value < FLAT_VARIANCE, 0, value) for value in (variance1, variance2))
    total = salient1 + salient2
    share = jnp.where(total > 0, salient1 / jnp.where(total > 0, total, 1), 0.5)
    of_1 = _similarity(mean1, mean, variance1 + variance, sum1)
    of_2 = _similarity(mean2, mean, variance2 + variance, sum2)
    return share * of_1 + (1 - share) * of_2, jnp.maximum(salient1, salient2)


def _weighted(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None) -> jax.Array:
    quality, saliency = _quality(x1, x2, fused)
    border = WINDOW // 2
    total = map_mean(saliency, mask, border)
    mean_by_saliency = map_mean(quality * saliency, mask, border) / jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, mean_by_saliency, map_mean(quality, mask, border))


def _prewitt(image: jax.Array) -> jax.Array:
    """Edge strength, zero-padded, (B, H, W, 1)."""
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    columns = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
    square = (rows[:, :, 2:] - rows[:, :, :-2]) ** 2 + (columns[:, 2:] - columns[:, :-2]) ** 2
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


@functools.partial(jax.jit, static_argnames=("variant", "quantize"))
def _score(
    x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None, variant: str, quantize: bool
) -> jax.Array:
    x1, x2, fused = (to_8bit(image, quantize=quantize) for image in (x1, x2, fused))
    if variant == "weighted":
        return _weighted(x1, x2, fused, mask)
    if variant == "edge":
        return _weighted(x1, x2, fused, mask) * _weighted(_prewitt(x1), _prewitt(x2), _prewitt(fused), mask)
    quality, _ = _quality(x1, x2, fused)
    if variant == "toolbox":
        return map_mean(quality, mask, WINDOW // 2)
    mask = None if mask is None else central_cut(mask, CENTRE_RADIUS)
    return map_mean(central_cut(quality, CENTRE_RADIUS, WINDOW // 2), mask)


def q_p(
    x1: ArrayLike,
    x2: ArrayLike,
    fused: ArrayLike,
    *,
    variant: str = "toolbox",
    mask: ArrayLike | None = None,
    quantize: bool = True,
) -> jax.Array:
    """Piella-Heijmans quality: SSIM to each source, weighted by which source is locally the more salient.

    λ = σ1² / (σ1² + σ2²) under SSIM's window (11x11 Gaussian, σ 1.5, valid region, L = 255); ½ where both vanish, and
    a variance below 0.01 grey levels² counts as 0, because in flat regions it is rounding noise.
    - 'toolbox' (Q): mean of λ SSIM(fused, x1) + (1 - λ) SSIM(fused, x2).
    - 'fusioninn': that map on the central 11x11 pixels only, which is what the published numbers are.
    - 'weighted' (Q_w): the mean weighted by the overall saliency max(σ1², σ2²).
    - 'edge' (Q_e): Q_w of the images times Q_w of their Prewitt edge images (exponent α = 1).
    (Piella & Heijmans 2003, "A new quality metric for image fusion", ICIP; with SSIM in place of their Q_0, as in the
    fusion-metrics toolbox.) Range [-1, 1]; 1 where fused = x1 = x2. It rewards following, at each place, the source
    that has contrast there.

    Traps: blank background scores 1.0 in 'toolbox' and 'fusioninn', nothing in 'weighted' and 'edge'. 'fusioninn' is
    121 pixels in the image's middle. Constant images are defined: λ = ½ everywhere, 'weighted' becomes the plain
    mean; x1 = x2 = fused gives 1 in every variant.

    Args:
      x1: first source, (B, H, W, 1) or (B, H, W), floats in [0, 1].
      x2: second source, the same shape.
      fused: the same shape.
      variant: 'toolbox', 'fusioninn', 'weighted' or 'edge'.
      mask: (B, H, W[, 1]), true inside the brain: means run over mask pixels (an empty mask gives 0).
      quantize: round to 8 bits first; False keeps the score differentiable.

    Returns:
      (B,).

    Raises:
      ValueError: shapes differ, images under 11x11 (21x21 for 'fusioninn'), unknown variant; outside jit also NaN or
        values outside [0, 1].
    """
    check_variant(variant, VARIANTS)
    (x1, x2, fused), mask = prepare({"x1": x1, "x2": x2, "fused": fused}, mask=mask, window=WINDOW)
    return _score(x1, x2, fused, mask, variant=variant, quantize=quantize)
