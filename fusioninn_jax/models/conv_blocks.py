"""What the convolutional systems of Table 1 are made of, as PyTorch computes and starts it.

Images and features are (B, H, W, C). Every block takes `gather` last: None normalises with the running statistics
(evaluation); in training it brings an array of all devices together, (n, ...) -> (n * devices, ...), and batch
statistics are those of the global batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from fusioninn_jax.models.base import FusionModel, Gather, Variables, on_one_device
from fusioninn_jax.models.conditioners import uniform_fan_in

Activation = Callable[[jax.Array], jax.Array]


def conv(x: jax.Array, features: int, size: int = 3, *, groups: int = 1, name: str | None = None) -> jax.Array:
    """A square convolution with zero padding to the same size; for use inside a compact module.

    Kernel and bias start at U(±1/√fan_in), PyTorch's default.

    Args:
      x: (B, H, W, C).
      features: channels of the result, (B, H, W, features).
      size: the kernel's side in pixels.
      groups: of channels, each convolved by itself; divides C and `features`.
      name: of the layer among the params; None: Flax numbers it.
    """
    start = functools.partial(uniform_fan_in, fan_in=size**2 * x.shape[-1] // groups)
    return nn.Conv(features, (size, size), feature_group_count=groups, kernel_init=start, bias_init=start, name=name)(x)


class TransposedConv(nn.Module):
    """A 2x2 transposed convolution of stride 2: (B, H, W, C) -> (B, 2H, 2W, features).

    Its windows do not overlap, so it is a product with one matrix, which every backend runs faster.
    """

    features: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start = functools.partial(uniform_fan_in, fan_in=4 * self.features)  # as PyTorch counts it
        kernel = self.param("kernel", start, (2, 2, x.shape[-1], self.features))
        bias = self.param("bias", start, (self.features,))
        batch, height, width, _ = x.shape
        cells = jnp.einsum("bhwc,ijco->bhiwjo", x, kernel)
        return cells.reshape(batch, 2 * height, 2 * width, self.features) + bias[None, None, None]


class BatchNorm(nn.Module):
    """Batch normalisation with PyTorch's conventions: the running variance is the unbiased one.

    Source: Ioffe & Szegedy 2015, "Batch normalization", algorithms 1-2; the moments of the devices' equal shares are
    combined as in Chan, Golub, LeVeque 1983, eq. 1.5.

    Attributes:
      momentum: weight of the new batch in the running statistics.
      epsilon: added to the variance.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x: jax.Array, gather: Gather | None = None) -> jax.Array:
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones_init(), (channels,))
        bias = self.param("bias", nn.initializers.zeros_init(), (channels,))
        mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
        variance = self.variable("batch_stats", "var", jnp.ones, (channels,))
        if gather is None:
            used_mean, used_variance = mean.value, variance.value
        else:
            used_mean, used_variance, count = _global_moments(x, gather)
            if not self.is_initializing():
                unbiased = used_variance * count / max(count - 1, 1)
                mean.value += self.momentum * (used_mean - mean.value)
                variance.value += self.momentum * (unbiased - variance.value)
        shift, factor, end = (
            values[None, None, None]
            for values in (used_mean, scale * jax.lax.rsqrt(used_variance + self.epsilon), bias)
        )
        return (x - shift) * factor + end


def _global_moments(x: jax.Array, gather: Gather) -> tuple[jax.Array, jax.Array, int]:
    """Mean and biased variance of each channel over the global batch, and how many values they are of."""
    local_mean = x.mean((0, 1, 2))
    local = jnp.stack([local_mean, ((x - local_mean[None, None, None]) ** 2).mean((0, 1, 2))])
    means, variances = jnp.moveaxis(gather(local[None]), 1, 0)
    mean = means.mean(0)
    variance = (variances + (means - mean[None]) ** 2).mean(0)
    return mean, variance, len(means) * x.size // x.shape[-1]


class ConvNorm(nn.Module):
    """Convolution, batch normalisation, activation."""

    features: int
    size: int = 3
    activation: Activation = nn.relu

    @nn.compact
    def __call__(self, x: jax.Array, gather: Gather | None = None) -> jax.Array:
        return self.activation(BatchNorm(name="norm")(conv(x, self.features, self.size, name="conv"), gather))


class DoubleConv(nn.Module):
    """(conv3x3, batch normalisation, ReLU) twice."""

    features: int

    @nn.compact
    def __call__(self, x: jax.Array, gather: Gather | None = None) -> jax.Array:
        return ConvNorm(self.features, name="second")(ConvNorm(self.features, name="first")(x, gather), gather)


def max_pool(x: jax.Array, factor: int = 2) -> jax.Array:
    """Maximum over `factor` x `factor` cells of `x`: (B, H, W, C) -> (B, H / factor, W / factor, C)."""
    return nn.max_pool(x, (factor, factor), (factor, factor))


def encode(x: jax.Array, block: Callable[[int], nn.Module], levels: int, gather: Gather | None) -> list[jax.Array]:
    """The features of each level, each halved by max-pooling before the next block; for compact modules.

    Args:
      x: (B, H, W, C), H and W divisible by 2**(levels - 1).
      block: level, from 0 -> the module of that level.
      levels: how many.
      gather: as everywhere here.
    """
    features = []
    for level in range(levels):
        x = block(level)(max_pool(x) if level else x, gather)
        features.append(x)
    return features


class _NetworkModel(NamedTuple):
    """A network as the functions of a FusionModel; methods, so that it pickles."""

    network: nn.Module
    sources: int | None
    multiple: int

    def _check(self, images: tuple[jax.Array, ...]) -> None:
        if self.sources not in (None, len(images)) or not images:
            raise ValueError(f"the model takes {self.sources or 'some'} sources; got {len(images)}")
        if images[0].shape[1] % self.multiple or images[0].shape[2] % self.multiple:
            raise ValueError(
                f"images of {images[0].shape[1]}x{images[0].shape[2]}; the model needs multiples of {self.multiple}"
            )

    def init(self, key: jax.Array, *images: jax.Array) -> Variables:
        self._check(images)
        return self.network.init(key, images, on_one_device)

    def fuse(self, variables: Variables, *images: jax.Array) -> tuple[jax.Array, None]:
        self._check(images)
        return jnp.asarray(self.network.apply(variables, images)), None

    def fuse_train(
        self, variables: Variables, *images: jax.Array, gather: Gather = on_one_device
    ) -> tuple[jax.Array, None, Variables]:
        self._check(images)
        fused, changed = self.network.apply(variables, images, gather, mutable=["batch_stats"])
        return fused, None, changed["batch_stats"]


def fusion_model(network: nn.Module, *, sources: int | None = 2, multiple: int = 1) -> FusionModel:
    """A Linen network as a FusionModel that cannot decompose.

    Args:
      network: called as `network(images, gather)` with a tuple of (B, H, W, 1) sources; gives (B, H, W, 1), or in
        training (B, H, W, 1 + S) with S side outputs of deep supervision.
      sources: how many it takes; None: any number.
      multiple: what height and width must be divisible by.
    """
    own = _NetworkModel(network, sources, multiple)
    return FusionModel(own.init, own.fuse, own.fuse_train, None, sources=sources, multiple=multiple)
