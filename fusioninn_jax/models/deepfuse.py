"""DeepFuse: one encoder for all sources, their features added, one decoder.

Source: Prabhakar, Srikar, Babu 2017, "DeepFuse: a deep unsupervised approach for exposure fusion with extreme
exposure image pairs", section 3.1; batch normalisation and widths of FusionINN's comparison (arXiv 2403.15769).
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from fusioninn_jax.models.base import FusionModel
from fusioninn_jax.models.conv_blocks import ConvNorm, Gather, fusion_model


class DeepFuse(nn.Module):
    """m sources (B, H, W, 1) -> (B, H, W, 1) in (-1, 1), since a tanh ends it.

    The encoder runs once per source, so its batch statistics are of each source by itself.

    Attributes:
      width: channels of the first layer; the others have once or twice as many.
    """

    width: int

    def setup(self) -> None:
        leaky = functools.partial(nn.leaky_relu, negative_slope=0.01)
        self.encoder = [ConvNorm(self.width, 5, leaky), ConvNorm(2 * self.width, 7, nn.relu)]
        self.decoder = [ConvNorm(2 * self.width, 7, leaky), ConvNorm(self.width, 5, leaky), ConvNorm(1, 5, jnp.tanh)]

    def __call__(self, images: tuple[jax.Array, ...], gather: Gather | None = None) -> jax.Array:
        """As `conv_blocks.fusion_model` calls it."""
        encoded = []
        for image in images:
            for layer in self.encoder:
                image = layer(image, gather)
            encoded.append(image)
        fused = jnp.sum(jnp.stack(encoded), 0)
        for layer in self.decoder:
            fused = layer(fused, gather)
        return fused


def deepfuse(config: ml_collections.ConfigDict) -> FusionModel:
    """DeepFuse as a FusionModel for any number of sources; `config`: `settings.MODELS["deepfuse"]`."""
    return fusion_model(DeepFuse(config.width), sources=None)
