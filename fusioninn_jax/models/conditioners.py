"""The Flax conv nets inside couplings."""
from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from fusioninn_jax.bijections.coupling import Conditioner, ConditionerInit
from fusioninn_jax.models.convolution import ConvPair, conv_relu_conv


def uniform_fan_in(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32, *,
                   fan_in: int) -> jax.Array:
    """U(±1/√fan_in), how PyTorch starts the weights and biases of a convolution."""
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


class ConvConditioner(nn.Module):
    """conv3x3 -> ReLU -> conv3x3 (-> ReLU), zero padding: (B, H, W, c) -> (B, H, W, 2 * channels).

    Source: FusionINN (arXiv 2403.15769) section 2.2, in the layout of the authors' code.

    Attributes:
      width: channels between the two convolutions.
      channels: channels of the half that s and t act on.
      final_relu: end with a ReLU (the authors' code; makes s and t non-negative).
      zero_last: start the last convolution at zero, so that the coupling starts as the identity.
      dtype: precision of the convolutions; None follows input and parameters.
    """

    width: int
    channels: int
    final_relu: bool
    zero_last: bool
    dtype: Any = None

    @nn.compact
    def __call__(self, u: jax.Array) -> jax.Array:
        kernel1, bias1 = _ConvWeights(u.shape[-1], self.width, name="conv1")()
        kernel2, bias2 = _ConvWeights(self.width, 2 * self.channels, zero=self.zero_last, name="conv2")()
        u, *weights = promote_dtype(u, kernel1, bias1, kernel2, bias2, dtype=self.dtype)
        out = conv_relu_conv(ConvPair(*weights), u)
        return nn.relu(out) if self.final_relu else out


class _ConvWeights(nn.Module):
    """Kernel (3, 3, in, out) and bias (out,) of one convolution."""

    channels: int
    features: int
    zero: bool = False

    @nn.compact
    def __call__(self) -> tuple[jax.Array, jax.Array]:
        def initializer(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
            return uniform_fan_in(key, shape, dtype, fan_in=9 * self.channels)
        start = nn.initializers.zeros_init() if self.zero else initializer
        return (self.param("kernel", start, (3, 3, self.channels, self.features)),
                self.param("bias", start, (self.features,)))


def conv_conditioner(width: int, *, final_relu: bool, zero_last: bool,
                     dtype: Any = None) -> tuple[Conditioner, ConditionerInit]:
    """A `ConvConditioner` as the pair of callables that `bijections.coupling` takes."""
    def module(channels: int) -> ConvConditioner:
        return ConvConditioner(width, channels, final_relu, zero_last, dtype)

    def apply(params: Any, u: jax.Array, channels: int) -> jax.Array:
        return jnp.asarray(module(channels).apply({"params": params}, u))

    def init(key: jax.Array, u: jax.Array, channels: int) -> Any:
        return module(channels).init(key, u)["params"]

    return apply, init
