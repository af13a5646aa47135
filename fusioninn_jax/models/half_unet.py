"""Half-UNet: one width at all scales, whose features meet at full resolution without a decoder of convolutions.

Two forms. `official` is the code of FusionINN's comparison (arXiv 2403.15769): features are enlarged and concatenated
step by step. `paper` is the published network: Ghost modules, and the enlarged features of all scales are added.
Source: Lu, She, Tie, Xu 2022, "Half-UNet: a simplified U-Net architecture for medical image segmentation".
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

from fusioninn_jax.models.base import FusionModel
from fusioninn_jax.models.conv_blocks import BatchNorm, ConvNorm, Gather, conv, encode, fusion_model
from fusioninn_jax.models.resampling import upsample

FORMS = ("official", "paper")
LEVELS = 5


class OfficialBlock(nn.Module):
    """conv3x3, batch normalisation, ReLU, conv3x3.

    The authors' code computes a depthwise convolution before the last one and throws it away; its weights are kept
    for the count and for the authors' checkpoints. Under jit it costs nothing.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, gather: Gather | None = None) -> jax.Array:
        x = ConvNorm(self.features, name="first")(x, gather)
        conv(x, self.features, groups=self.features, name="unused")
        return conv(x, self.features, name="second")


class Ghost(nn.Module):
    """Half of the channels by conv3x3, the other half from those by a depthwise conv3x3; then normalised, ReLU."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, gather: Gather | None = None) -> jax.Array:
        half = self.features // 2
        primary = conv(x, half, name="primary")
        cheap = conv(primary, self.features - half, groups=half, name="cheap")
        return nn.relu(BatchNorm(name="norm")(jnp.concatenate([primary, cheap], -1), gather))


class DoubleGhost(nn.Module):
    """Two Ghost modules."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, gather: Gather | None = None) -> jax.Array:
        return Ghost(self.features, name="second")(Ghost(self.features, name="first")(x, gather), gather)


class HalfUNet(nn.Module):
    """m sources (B, H, W, 1) -> (B, H, W, 1) in (0, 1); H and W divisible by 16.

    Attributes:
      width: channels at every scale, even.
      form: `official` or `paper`.
    """

    width: int
    form: str

    @nn.compact
    def __call__(self, images: tuple[jax.Array, ...], gather: Gather | None = None) -> jax.Array:
        block = OfficialBlock if self.form == "official" else DoubleGhost
        features = encode(
            jnp.concatenate(images, -1), lambda level: block(self.width, name=f"level{level}"), LEVELS, gather
        )
        if self.form == "official":
            joined = features[-1]
            for skip in features[-2::-1]:
                joined = jnp.concatenate([upsample(joined, align_corners=True), skip], -1)
        else:
            joined = features[0]
            for level, of_level in enumerate(features[1:], 1):
                joined += upsample(of_level, 2**level, align_corners=False)
            joined = DoubleGhost(self.width, name="decoder")(joined, gather)
        return nn.sigmoid(conv(joined, 1, 1, name="output"))


def half_unet(config: ml_collections.ConfigDict) -> FusionModel:
    """Half-UNet as a FusionModel; `config`: `settings.MODELS["half_unet"]`.

    Raises:
      ValueError: an unknown form, or an odd width.
    """
    if config.form not in FORMS:
        raise ValueError(f"model.half_unet.form is {config.form!r}; it must be one of {', '.join(FORMS)}")
    if config.width % 2:
        raise ValueError(f"model.half_unet.width is {config.width}; it must be even")
    return fusion_model(HalfUNet(config.width, config.form), sources=config.sources, multiple=2 ** (LEVELS - 1))
