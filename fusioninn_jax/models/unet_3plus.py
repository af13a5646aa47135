"""UNet3+: every decoder level sees all scales, brought to its own and to one width.

Source: Huang et al. 2020, "UNet 3+: a full-scale connected UNet for medical image segmentation", sections 2.1-2.2.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from fusioninn_jax.models.base import FusionModel
from fusioninn_jax.models.conv_blocks import ConvNorm, DoubleConv, Gather, conv, encode, fusion_model, max_pool
from fusioninn_jax.models.resampling import upsample

LEVELS = 5


class FullScaleSkip(nn.Module):
    """Features of all scales at one level: (conv3x3, batch normalisation, ReLU) of each, concatenated, and of all."""

    level: int
    width: int

    @nn.compact
    def __call__(self, features: list[jax.Array], gather: Gather | None = None) -> jax.Array:
        brought = []
        for level, x in enumerate(features):
            if level < self.level:
                x = max_pool(x, 2 ** (self.level - level))
            elif level > self.level:
                x = upsample(x, 2 ** (level - self.level), align_corners=False)
            brought.append(ConvNorm(self.width, name=f"from{level}")(x, gather))
        return ConvNorm(LEVELS * self.width, name="join")(jnp.concatenate(brought, -1), gather)


class UNet3Plus(nn.Module):
    """m sources (B, H, W, 1) -> (B, H, W, 1) in (0, 1); H and W divisible by 16.

    Attributes:
      width: channels of the first level; they double at each of four more.
      deep_supervision: train an output of each decoder level and of the bottleneck, enlarged to full size.
    """

    width: int
    deep_supervision: bool

    @nn.compact
    def __call__(self, images: tuple[jax.Array, ...], gather: Gather | None = None) -> jax.Array:
        features = encode(
            jnp.concatenate(images, -1),
            lambda level: DoubleConv(self.width * 2**level, name=f"encoder{level}"),
            LEVELS,
            gather,
        )
        for level in reversed(range(LEVELS - 1)):  # encoded above this level, decoded below it
            features[level] = FullScaleSkip(level, self.width, name=f"decoder{level}")(features, gather)
        outputs = [nn.sigmoid(conv(features[0], 1, name="output"))]
        if self.deep_supervision and gather is not None:
            sides = [conv(features[level], 1, name=f"side{level}") for level in range(1, LEVELS)]
            outputs += [
                nn.sigmoid(upsample(side, 2**level, align_corners=False)) for level, side in enumerate(sides, 1)
            ]
        return jnp.concatenate(outputs, -1)


def unet_3plus(config: ml_collections.ConfigDict) -> FusionModel:
    """UNet3+ as a FusionModel; `config`: `settings.MODELS["unet_3plus"]`."""
    return fusion_model(
        UNet3Plus(config.width, config.deep_supervision), sources=config.sources, multiple=2 ** (LEVELS - 1)
    )
