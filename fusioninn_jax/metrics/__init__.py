"""Quality metrics of fused images.

The five of the paper's Table 1 share one signature: (x1, x2, fused, *, variant, mask) -> (B,), images (B, H, W, 1) or
(B, H, W) in [0, 1]. The default variant is the metric's own definition, 'fusioninn' the published numbers' one.

The literature's further ones take what they need: (fused) for entropy, standard_deviation, spatial_frequency and
average_gradient; (x1, x2, fused) for the rest; (source, decomposed) for `decomposition_*`. All take mask and give (B,).

`auc` and `contrast_to_noise` see whether an image shows a lesion: (image, region, reference); see `conspicuity`.
"""

import jax
from jax.typing import ArrayLike

from fusioninn_jax.metrics.conspicuity import auc, contrast_to_noise, fairness
from fusioninn_jax.metrics.decomposition import decomposition_mae, decomposition_psnr, decomposition_ssim
from fusioninn_jax.metrics.fidelity import mse, psnr, ssim_sum
from fusioninn_jax.metrics.fmi import q_fmi
from fusioninn_jax.metrics.image_statistics import (
    average_gradient,
    correlation,
    scd,
    spatial_frequency,
    standard_deviation,
)
from fusioninn_jax.metrics.information import entropy, mutual_information
from fusioninn_jax.metrics.ncie import q_ncie
from fusioninn_jax.metrics.piella import q_p
from fusioninn_jax.metrics.ssim import q_ssim
from fusioninn_jax.metrics.vif import vif
from fusioninn_jax.metrics.xydeas_petrovic import q_xy

__all__ = [
    "auc",
    "average_gradient",
    "contrast_to_noise",
    "correlation",
    "decomposition_mae",
    "decomposition_psnr",
    "decomposition_ssim",
    "entropy",
    "fairness",
    "mse",
    "mutual_information",
    "psnr",
    "q_abf",
    "q_fmi",
    "q_ncie",
    "q_p",
    "q_ssim",
    "q_xy",
    "scd",
    "spatial_frequency",
    "ssim_sum",
    "standard_deviation",
    "vif",
]


def q_abf(
    x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, *, mask: ArrayLike | None = None, quantize: bool = True
) -> jax.Array:
    """Q_AB/F as the literature prints it: `q_xy` with variant='xydeas2000'.

    Args:
      x1, x2, fused: (B, H, W, 1) or (B, H, W), in [0, 1].
      mask: true where a pixel counts; None counts all.
      quantize: to 8 bits first; without, the metric is differentiable.

    Returns:
      (B,).

    Raises:
      ValueError: as `q_xy`.
    """
    return q_xy(x1, x2, fused, variant="xydeas2000", mask=mask, quantize=quantize)
