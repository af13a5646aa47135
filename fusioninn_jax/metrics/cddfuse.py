"""The twelve numbers of the Python evaluator published with CDDFuse, the commonest one in papers on medical fusion.

From its definitions, where they differ from this package's own: MI in nats, AG from central differences, MSE in squared
grey levels, PSNR against the fused image's own maximum, Q_AB/F without folding the turn of an edge at 90 degrees, and
SSIM over uniform 7x7 windows with the constants of a range of 2. EN, SD, SF, CC, SCD and VIF are this package's.

Images are (B, H, W, 1) or (B, H, W) in [0, 1], rounded to 0..255 first, H and W at least 41; results are (B,), of the
whole image: the evaluator knows no mask. Where it divides by nothing a mean over images shall survive: PSNR stays
within 100 dB (100 where nothing differs), and Qabf is 0 where no source has an edge. Source of the definitions: Zhao et
al. 2023, "CDDFuse: Correlation-Driven Dual-Branch Feature Decomposition for Multi-Modality Image Fusion", CVPR,
evaluation code.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fusioninn_jax.metrics import _inputs, image_statistics, information
from fusioninn_jax.metrics.vif import MIN_SIZE, vif
from fusioninn_jax.metrics.xydeas_petrovic import XYDEAS2000

NAMES = ("EN", "SD", "SF", "AG", "MI", "MSE", "CC", "PSNR", "SCD", "VIF", "Qabf", "SSIM")
WINDOW = 7  # of its SSIM
SSIM_RANGE = 2.0  # what its library takes for floating images, though they hold 0..255
K1, K2 = 0.01, 0.03
MOST = 100.0  # decibels


def cddfuse(x1: ArrayLike, x2: ArrayLike, fused: ArrayLike) -> dict[str, jax.Array]:
    """All twelve, by the evaluator's names.

    Args:
      x1: first source, (B, H, W, 1) or (B, H, W), floats in [0, 1].
      x2: second source, the same shape.
      fused: the same shape.

    Returns:
      name of NAMES -> (B,), in its units and as its sums over both sources.

    Raises:
      ValueError: shapes differ, images under 41x41; outside jit also NaN or values outside [0, 1].
    """
    (x1, x2, fused), _ = _inputs.prepare({"x1": x1, "x2": x2, "fused": fused}, window=MIN_SIZE)
    a, b, y = (_inputs.to_8bit(image) for image in (x1, x2, fused))
    mse = (_mean((a - y) ** 2) + _mean((b - y) ** 2)) / 2
    of_fused = {
        "EN": information.entropy(fused),
        "SD": image_statistics.standard_deviation(fused),
        "SF": image_statistics.spatial_frequency(fused),
        "AG": _average_gradient(y),
    }
    return of_fused | {
        "MI": information.mutual_information(x1, x2, fused) * jnp.log(2.0),
        "MSE": mse,
        "CC": image_statistics.correlation(x1, x2, fused),
        "PSNR": _psnr(y, mse),
        "SCD": image_statistics.scd(x1, x2, fused),
        "VIF": vif(x1, x2, fused),
        "Qabf": _q_abf(a, b, y),
        "SSIM": _ssim(a, y) + _ssim(b, y),
    }


def _mean(values: jax.Array) -> jax.Array:
    return values.mean((1, 2, 3))


def _psnr(y: jax.Array, mse: jax.Array) -> jax.Array:
    decibels = 10 * jnp.log10(y.max((1, 2, 3)) ** 2 / jnp.where(mse > 0, mse, 1))
    return jnp.where(mse > 0, jnp.clip(decibels, -MOST, MOST), MOST)


def _average_gradient(y: jax.Array) -> jax.Array:
    """Mean of sqrt((dx² + dy²) / 2): central differences, one-sided ones at the border."""
    down, along = jnp.gradient(y, axis=(1, 2))
    return _mean(jnp.sqrt((down**2 + along**2) / 2))


def _edges(image: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sobel strength and orientation in (-π/2, π/2], zero-padded; π/2 where nothing changes along the row."""
    padded = jnp.pad(image, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    columns = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    along, down = rows[:, :, :-2] - rows[:, :, 2:], columns[:, 2:] - columns[:, :-2]
    orientation = jnp.where(along == 0, jnp.pi / 2, jnp.arctan(down / jnp.where(along == 0, 1, along)))
    return jnp.sqrt(along**2 + down**2), orientation


def _q_abf(a: jax.Array, b: jax.Array, y: jax.Array) -> jax.Array:
    """Σ(Q_a g_a + Q_b g_b) / Σ(g_a + g_b): a turn beyond 90 degrees counts against, equal strengths as themselves."""
    of_strength, of_orientation = XYDEAS2000
    strength, orientation = _edges(y)

    def kept(source: jax.Array) -> tuple[jax.Array, jax.Array]:
        own, turned = _edges(source)
        larger = jnp.maximum(own, strength)
        ratio = jnp.where(own == strength, own, jnp.minimum(own, strength) / jnp.where(larger > 0, larger, 1))
        turn = 1 - jnp.abs(turned - orientation) / (jnp.pi / 2)
        return of_strength(ratio) * of_orientation(turn) * own, own

    (kept_a, there_a), (kept_b, there_b) = kept(a), kept(b)
    there = (there_a + there_b).sum((1, 2, 3))
    return (kept_a + kept_b).sum((1, 2, 3)) / jnp.where(there > 0, there, 1)


def _ssim(a: jax.Array, y: jax.Array) -> jax.Array:
    """SSIM over uniform windows, variances with divisor N - 1, mean over the windows that lie inside."""
    count = WINDOW * WINDOW

    def average(x: jax.Array) -> jax.Array:
        return jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, WINDOW, WINDOW, 1), (1, 1, 1, 1), "valid") / count

    mean_a, mean_y = average(a), average(y)
    unbiased = count / (count - 1)
    # about the image's mean, or float32 loses the variance of bright flat regions
    shift = _mean(a)[:, None, None, None]
    low_a, low_y = mean_a - shift, mean_y - shift
    variance_a = unbiased * (average((a - shift) ** 2) - low_a**2)
    variance_y = unbiased * (average((y - shift) ** 2) - low_y**2)
    covariance = unbiased * (average((a - shift) * (y - shift)) - low_a * low_y)
    c1, c2 = (K1 * SSIM_RANGE) ** 2, (K2 * SSIM_RANGE) ** 2
    return _mean(
        (2 * mean_a * mean_y + c1)
        * (2 * covariance + c2)
        / ((mean_a**2 + mean_y**2 + c1) * (variance_a + variance_y + c2))
    )
