"""The UNet of guided diffusion: noisy images and their time steps to an estimate of the noise.

(B, H, W, C) float, H and W divisible by `unet_multiple(config)`, nominally in [-1, 1] plus noise. Fully convolutional
but for its self-attention, which sees the whole image and knows no positions, so a network applies at other sizes than
it was trained at.

Source: Dhariwal & Nichol 2021, "Diffusion models beat GANs on image synthesis" (arXiv 2105.05233), section 3, as their
code lays it out.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections

GROUPS = 32  # of the group normalisation
LONGEST_PERIOD = 10_000  # of the time embedding


def time_embedding(times: jax.Array, channels: int) -> jax.Array:
    """Cosines, then sines, of `times`, (B,), at geometrically spaced frequencies: (B, channels), `channels` even.

    Source: Vaswani et al. 2017, section 3.5, with the cosines first.
    """
    half = channels // 2
    frequencies = jnp.exp(-jnp.log(float(LONGEST_PERIOD)) * jnp.arange(half, dtype=jnp.float32) / half)
    angles = times.astype(jnp.float32)[:, None] * frequencies
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], -1)


def _norm(name: str) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, epsilon=1e-5, use_fast_variance=False, name=name)


def _resize(x: jax.Array, resample: str) -> jax.Array:
    """Halves (mean of 2x2), doubles (nearest) or keeps the size of (B, H, W, C)."""
    if resample == "down":
        return nn.avg_pool(x, (2, 2), strides=(2, 2))
    return x.repeat(2, 1).repeat(2, 2) if resample == "up" else x


class ResBlock(nn.Module):
    """x + conv(SiLU(scale-shift norm(conv(SiLU(norm(x)))))): (B, H, W, c) -> (B, H', W', features).

    The time embedding gives scale and shift. With `resample` both branches are resized first.

    Attributes:
      features: channels out.
      resample: "", "down" or "up".
    """

    features: int
    resample: str = ""

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array) -> jax.Array:
        h = nn.Conv(self.features, (3, 3), name="in_conv")(_resize(nn.silu(_norm("in_norm")(x)), self.resample))
        scale_shift = nn.Dense(2 * self.features, name="embed")(nn.silu(embedding))[:, None, None]
        scale, shift = jnp.split(scale_shift, 2, -1)
        h = _norm("out_norm")(h) * (1 + scale) + shift
        h = nn.Conv(self.features, (3, 3), kernel_init=nn.initializers.zeros, name="out_conv")(nn.silu(h))
        x = _resize(x, self.resample)
        return h + (nn.Conv(self.features, (1, 1), name="skip")(x) if x.shape[-1] != self.features else x)


class AttentionBlock(nn.Module):
    """x + self-attention over all pixels: (B, H, W, c) -> (B, H, W, c).

    Channels are split into heads first, and each head's into query, key and value (the older of two orders).

    Attributes:
      head_channels: channels of a head; divides c.
    """

    head_channels: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        h = _norm("norm")(x).reshape(batch, height * width, channels)
        qkv = nn.Dense(3 * channels, name="qkv")(h)
        qkv = qkv.reshape(batch, height * width, channels // self.head_channels, 3, self.head_channels)
        h = jax.nn.dot_product_attention(qkv[..., 0, :], qkv[..., 1, :], qkv[..., 2, :])
        h = nn.Dense(channels, kernel_init=nn.initializers.zeros, name="project")(h.reshape(batch, -1, channels))
        return x + h.reshape(x.shape)


class UNet(nn.Module):
    """`(images (B, H, W, image_channels), times (B,)) -> (B, H, W, out_channels)`.

    Submodules are named after the original's keys: `input_3_0` for `input_blocks.3.0`, and so on.

    Attributes:
      channels: of the first level; a multiple of 32.
      multipliers: channels of each level over those of the first; every level halves the size.
      blocks: residual blocks of a level on the way down; one more on the way up.
      attention: how many times smaller than the image the levels are that attend, e.g. (8, 16, 32).
      head_channels: channels of an attention head.
      out_channels: image channels, or twice as many where the variance is learned.
    """

    channels: int
    multipliers: tuple[int, ...]
    blocks: int
    attention: tuple[int, ...]
    head_channels: int
    out_channels: int

    @nn.compact
    def __call__(self, x: jax.Array, times: jax.Array) -> jax.Array:
        embedding = time_embedding(times, self.channels)
        embedding = nn.Dense(4 * self.channels, name="time_0")(embedding)
        embedding = nn.Dense(4 * self.channels, name="time_2")(nn.silu(embedding))
        x, skips = self._down(x, embedding)
        x = ResBlock(x.shape[-1], name="middle_0")(x, embedding)
        x = AttentionBlock(self.head_channels, name="middle_1")(x)
        x = ResBlock(x.shape[-1], name="middle_2")(x, embedding)
        x = nn.silu(_norm("out_0")(self._up(x, skips, embedding)))
        return nn.Conv(self.out_channels, (3, 3), kernel_init=nn.initializers.zeros, name="out_2")(x)

    def _down(self, x: jax.Array, embedding: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        """The way down: its output, and what each of its steps hands over to the way up."""
        x = nn.Conv(self.channels, (3, 3), name="input_0_0")(x)
        skips = [x]
        for level, multiplier in enumerate(self.multipliers):
            for _ in range(self.blocks):
                number = len(skips)
                x = ResBlock(self.channels * multiplier, name=f"input_{number}_0")(x, embedding)
                if 2**level in self.attention:
                    x = AttentionBlock(self.head_channels, name=f"input_{number}_1")(x)
                skips.append(x)
            if level < len(self.multipliers) - 1:
                x = ResBlock(x.shape[-1], "down", name=f"input_{len(skips)}_0")(x, embedding)
                skips.append(x)
        return x, skips

    def _up(self, x: jax.Array, skips: list[jax.Array], embedding: jax.Array) -> jax.Array:
        """The way up, joining at each step what the way down had there."""
        number = 0
        for level, multiplier in reversed(list(enumerate(self.multipliers))):
            attends = 2**level in self.attention
            for block in range(self.blocks + 1):
                x = jnp.concatenate([x, skips[-1 - number]], -1)
                x = ResBlock(self.channels * multiplier, name=f"output_{number}_0")(x, embedding)
                if attends:
                    x = AttentionBlock(self.head_channels, name=f"output_{number}_1")(x)
                if level and block == self.blocks:
                    x = ResBlock(x.shape[-1], "up", name=f"output_{number}_{1 + attends}")(x, embedding)
                number += 1
        return x


def make_unet(config: ml_collections.ConfigDict) -> UNet:
    """The UNet of `config`, a DDFM's.

    Raises:
      ValueError: channels that the groups or heads don't divide, or a level that attends but isn't there.
    """
    multipliers, attention = tuple(config.multipliers), tuple(config.attention)
    if config.channels % GROUPS or not multipliers or config.blocks < 1:
        raise ValueError(
            f"ddfm needs channels divisible by {GROUPS}, at least one multiplier and blocks ≥ 1; got "
            f"channels {config.channels}, multipliers {multipliers}, blocks {config.blocks}"
        )
    levels = {2**level: multiplier for level, multiplier in enumerate(multipliers)}
    if not set(attention) <= set(levels):
        raise ValueError(f"ddfm.attention is {attention}; the levels are {', '.join(map(str, levels))} times smaller")
    for multiplier in (*[levels[factor] for factor in attention], multipliers[-1]):
        if config.channels * multiplier % config.head_channels:
            raise ValueError(
                f"ddfm.head_channels is {config.head_channels}; it must divide the "
                f"{config.channels * multiplier} channels of a level that attends"
            )
    return UNet(
        config.channels,
        multipliers,
        config.blocks,
        attention,
        config.head_channels,
        config.image_channels * (2 if config.learned_sigma else 1),
    )


def unet_multiple(config: ml_collections.ConfigDict) -> int:
    """What height and width must be divisible by for the UNet of `config`."""
    return 2 ** (len(config.multipliers) - 1)
