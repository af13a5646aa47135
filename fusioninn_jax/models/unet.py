"""UNet.

Source: Ronneberger, Fischer, Brox 2015, "U-Net: convolutional networks for biomedical image segmentation", with
batch normalisation and zero padding as in FusionINN's comparison (arXiv 2403.15769).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from fusioninn_jax.models.base import FusionModel
from fusioninn_jax.models.conv_blocks import DoubleConv, Gather, TransposedConv, conv, encode, fusion_model

LEVELS = 5


class UNet(nn.Module):
    """m sources (B, H, W, 1) -> (B, H, W, 1), unbounded; H and W divisible by 16.

    Attributes:
      width: channels of the first level; they double at each of four more.
    """

    width: int

    @nn.compact
    def __call__(self, images: tuple[jax.Array, ...], gather: Gather | None = None) -> jax.Array:
        *skips, x = encode(
            jnp.concatenate(images, -1),
            lambda level: DoubleConv(self.width * 2**level, name=f"encoder{level}"),
            LEVELS,
            gather,
        )
        for level in reversed(range(LEVELS - 1)):
            features = self.width * 2**level
            x = jnp.concatenate([TransposedConv(features, name=f"up{level}")(x), skips[level]], -1)
            x = DoubleConv(features, name=f"decoder{level}")(x, gather)
        return conv(x, 1, 1, name="output")


def unet(config: ml_collections.ConfigDict) -> FusionModel:
    """UNet as a FusionModel; `config`: `settings.MODELS["unet"]`."""
    return fusion_model(UNet(config.width), sources=config.sources, multiple=2 ** (LEVELS - 1))
