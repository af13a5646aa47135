"""Q_SSIM: structural similarity of the fused image to both sources.

Images are (B, H, W, 1) or (B, H, W), values in [0, 1], at least 11x11; the result is (B,).
"""

from __future__ import annotations

import jax
from jax.typing import ArrayLike

from fusioninn_jax import ssim as structural
from fusioninn_jax.metrics._inputs import check_variant, prepare
from fusioninn_jax.metrics._maps import map_mean

VARIANTS = ("toolbox", "fusioninn")


@jax.jit
def _score(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None) -> jax.Array:
    of_fused = structural.moments(fused)

    def similarity(source: jax.Array) -> jax.Array:
        cross = structural.blur(source * fused)
        quality = structural.ssim_map_from_moments(structural.moments(source), of_fused, cross)
        return map_mean(quality, mask, structural.WINDOW // 2)

    return (similarity(x1) + similarity(x2)) / 2


def q_ssim(
    x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, *, variant: str = "toolbox", mask: ArrayLike | None = None
) -> jax.Array:
    """Mean structural similarity to the two sources: (SSIM(x1, fused) + SSIM(x2, fused)) / 2.

    SSIM = (2 μa μf + C1)(2 σaf + C2) / ((μa² + μf² + C1)(σa² + σf² + C2)) under an 11x11 Gaussian of σ = 1.5, valid
    region, C1 = 0.01², C2 = 0.03² (Wang, Bovik, Sheikh, Simoncelli 2004, eq. 13), averaged over the map.
    It rewards local contrast and structure shared with each source. Range [-1, 1]; 1 only where fused = x1 = x2.

    Traps: blank background scores 1.0, so a whole slice flatters every system; use `mask`. The score of floats and
    of their 8-bit picture differ a little; this one takes floats as they are, outside [0, 1] too in `fused`.
    Constant images are defined: x1 = x2 = fused gives 1, differing constants keep the luminance term alone.

    Args:
      x1: first source, (B, H, W, 1) or (B, H, W), floats in [0, 1].
      x2: second source, the same shape.
      fused: the same shape; may leave [0, 1], as some networks' raw output does.
      variant: 'toolbox' or 'fusioninn'; for this metric they are the same.
      mask: (B, H, W[, 1]), true inside the brain: the map is averaged over mask pixels (an empty mask gives 0).

    Returns:
      (B,), differentiable.

    Raises:
      ValueError: shapes differ, images under 11x11, unknown variant; outside jit also NaN, sources outside [0, 1]
        and a fused image of 0..255.
    """
    check_variant(variant, VARIANTS)
    images = {"x1": x1, "x2": x2, "fused": fused}
    (x1, x2, fused), mask = prepare(images, mask=mask, window=structural.WINDOW, raw=("fused",))
    return _score(x1, x2, fused, mask)
