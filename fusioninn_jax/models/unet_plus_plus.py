"""UNet++: nested UNets of one to four levels that share an encoder.

Source: Zhou, Siddiquee, Tajbakhsh, Liang 2018, "UNet++: a nested U-Net architecture for medical image segmentation".
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from fusioninn_jax.models.base import FusionModel
from fusioninn_jax.models.conv_blocks import DoubleConv, Gather, conv, encode, fusion_model
from fusioninn_jax.models.resampling import upsample

LEVELS = 5


class UNetPlusPlus(nn.Module):
    """m sources (B, H, W, 1) -> (B, H, W, 1) in (0, 1); H and W divisible by 16.

    Attributes:
      width: channels of the first level; they double at each of four more.
      deep_supervision: train an output of each nested UNet (section 3.2; their order here: deepest first). The fused
        image is the deepest one's, the paper's fast mode without pruning.
    """

    width: int
    deep_supervision: bool

    @nn.compact
    def __call__(self, images: tuple[jax.Array, ...], gather: Gather | None = None) -> jax.Array:
        def block(level: int, column: int) -> DoubleConv:
            return DoubleConv(self.width * 2**level, name=f"node{level}_{column}")

        nodes = [[x] for x in encode(jnp.concatenate(images, -1), lambda level: block(level, 0), LEVELS, gather)]
        for column in range(1, LEVELS):
            for level in range(LEVELS - column):
                below = upsample(nodes[level + 1][column - 1], align_corners=True)
                nodes[level].append(block(level, column)(jnp.concatenate([*nodes[level], below], -1), gather))
        outputs = [nn.sigmoid(conv(nodes[0][-1], 1, 1, name="output"))]
        if self.deep_supervision and gather is not None:
            outputs += [
                nn.sigmoid(conv(nodes[0][column], 1, 1, name=f"side{column}"))
                for column in reversed(range(1, LEVELS - 1))
            ]
        return jnp.concatenate(outputs, -1)


def unet_plus_plus(config: ml_collections.ConfigDict) -> FusionModel:
    """UNet++ as a FusionModel; `config`: `settings.MODELS["unet_plus_plus"]`."""
    return fusion_model(
        UNetPlusPlus(config.width, config.deep_supervision), sources=config.sources, multiple=2 ** (LEVELS - 1)
    )
