"""FunFuseAn: a low- and a high-frequency branch for each of two sources, fused by a normalised maximum.

Source: Kumar et al. 2019, "Structural similarity based anatomical and functional brain imaging fusion", in the layout
of FusionINN's comparison (arXiv 2403.15769).
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from fusioninn_jax.models.base import FusionModel
from fusioninn_jax.models.conv_blocks import ConvNorm, Gather, conv, fusion_model

LOW_SIZES = (9, 7)  # kernels of the low-frequency branch of the first and of the second source
HIGH_SIZES = ((3, 3, 3), (5, 5, 3))
EPSILON = 1e-8


class Branch(nn.Module):
    """Convolutions with batch normalisation and LeakyReLU(0.2), one for each of `sizes`."""

    widths: tuple[int, ...]
    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array, gather: Gather | None = None) -> jax.Array:
        leaky = functools.partial(nn.leaky_relu, negative_slope=0.2)
        for i, (features, size) in enumerate(zip(self.widths, self.sizes, strict=True)):
            x = ConvNorm(features, size, leaky, name=f"layer{i}")(x, gather)
        return x


class FunFuseAn(nn.Module):
    """Two sources (B, H, W, 1) -> (B, H, W, 1) in (0, 1).

    Attributes:
      width: channels of the low-frequency branches; the high-frequency ones end with four times as many.
    """

    width: int

    @nn.compact
    def __call__(self, images: tuple[jax.Array, ...], gather: Gather | None = None) -> jax.Array:
        w = self.width
        low = [
            Branch((w,), (size,), name=f"low{i}")(image, gather)
            for i, (image, size) in enumerate(zip(images, LOW_SIZES, strict=True), 1)
        ]
        a, b = (
            Branch((w, 2 * w, 4 * w), sizes, name=f"high{i}")(image, gather)
            for i, (image, sizes) in enumerate(zip(images, HIGH_SIZES, strict=True), 1)
        )
        high = jnp.maximum(a, b) / (a + b + EPSILON)
        detail = Branch((2 * w, w), (5, 5), name="reconstruction")(high, gather)
        return nn.sigmoid(conv((low[0] + low[1] + detail) / 3, 1, 5, name="output"))


def funfusean(config: ml_collections.ConfigDict) -> FusionModel:
    """FunFuseAn as a FusionModel; `config`: `settings.MODELS["funfusean"]`."""
    return fusion_model(FunFuseAn(config.width))
