"""The nets inside couplings: Flax conv nets for images, dense ones for vectors.

A condition, (B, K) numbers or (B, h, w, K) images, joins what a net sees: numbers at every pixel, images squeezed until
they have its size.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.errors import ScopeParamShapeError
from flax.linen.dtypes import promote_dtype

from fusioninn_jax.bijections.coupling import Conditioner, ConditionerInit
from fusioninn_jax.bijections.squeeze import squeeze_forward
from fusioninn_jax.models.convolution import ConvPair, conv_relu_conv

Join = Callable[[jax.Array, jax.Array], jax.Array]  # what a net sees, and a condition -> what it sees with it


def uniform_fan_in(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32, *, fan_in: int) -> jax.Array:
    """U(±1/√fan_in), how PyTorch starts the weights and biases of a convolution.

    Args:
      key: of the draw.
      shape: of the array.
      dtype: of the array.
      fan_in: inputs of one output.
    """
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


def _wider(a: jnp.dtype, b: jnp.dtype) -> jnp.dtype:
    """The more precise of two types, without what strict promotion forbids."""
    return a if a.itemsize > b.itemsize else b


class ConvConditioner(nn.Module):
    """conv3x3 -> ReLU -> conv3x3 (-> ReLU), zero padding: (B, H, W, c) -> (B, H, W, parameters * channels).

    Source: FusionINN (arXiv 2403.15769) section 2.2, in the layout of the authors' code.

    Attributes:
      width: channels between the two convolutions.
      channels: channels of the part that s and t act on.
      final_relu: end with a ReLU (the authors' code; makes s and t non-negative).
      zero_last: start the last convolution at zero, so that the coupling starts as the identity.
      dtype: precision of the convolutions; None follows input and parameters.
      parameters: values for each element of that part, `parameters` of the coupling's transformer.
    """

    width: int
    channels: int
    final_relu: bool
    zero_last: bool
    dtype: Any = None
    parameters: int = 2

    @nn.compact
    def __call__(self, u: jax.Array) -> jax.Array:
        if u.ndim != 4:
            raise ValueError(f"a conv conditioner takes images, (B, H, W, C); got shape {u.shape}")
        kernel1, bias1 = _ConvWeights(u.shape[-1], self.width, name="conv1")()
        kernel2, bias2 = _ConvWeights(self.width, self.parameters * self.channels, zero=self.zero_last, name="conv2")()
        dtype = self.dtype or _wider(u.dtype, kernel1.dtype)
        u, *weights = promote_dtype(u, kernel1, bias1, kernel2, bias2, dtype=dtype)
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
        return (
            self.param("kernel", start, (3, 3, self.channels, self.features)),
            self.param("bias", start, (self.features,)),
        )


def fitted_condition(condition: jax.Array, u: jax.Array) -> jax.Array:
    """A condition as an image of the size of `u`, (B, H, W, c), in its precision.

    Args:
      condition: (B, K) numbers, or (B, H * n, W * n, K) images with n = 1, 2, 4, ...
      u: what it joins.

    Raises:
      ValueError: another shape.
    """
    image = jnp.asarray(condition).astype(u.dtype)
    if image.ndim == 2 and image.shape[0] == u.shape[0]:
        return jnp.broadcast_to(image[:, None, None], (*u.shape[:3], image.shape[-1]))
    while image.ndim == 4 and image.shape[1] > u.shape[1] and not (image.shape[1] % 2 or image.shape[2] % 2):
        image, _ = squeeze_forward(image)
    if image.ndim != 4 or image.shape[:3] != u.shape[:3]:
        raise ValueError(
            f"a condition of images of {u.shape} is (B, K) or (B, H n, W n, K) with n = 1, 2, 4, ...; "
            f"got {condition.shape}"
        )
    return image


def _with_image(u: jax.Array, condition: jax.Array) -> jax.Array:
    return jnp.concatenate([u, fitted_condition(condition, u)], -1)


def _apply(
    make: Callable[..., nn.Module],
    join: Join,
    params: Any,
    u: jax.Array,
    channels: int,
    condition: jax.Array | None = None,
) -> jax.Array:
    seen = u if condition is None else join(u, condition)
    try:
        return jnp.asarray(make(channels=channels).apply({"params": params}, seen))
    except ScopeParamShapeError as error:
        given = "no condition" if condition is None else f"a condition of {condition.shape}"
        raise ValueError(
            f"this conditioner's params are not for {u.shape} with {given}: give init what forward will get"
        ) from error


def _init(
    make: Callable[..., nn.Module],
    join: Join,
    key: jax.Array,
    u: jax.Array,
    channels: int,
    condition: jax.Array | None = None,
) -> Any:
    seen = u if condition is None else join(u, condition)
    return make(channels=channels).init(key, seen)["params"]


def conv_conditioner(
    width: int, *, final_relu: bool, zero_last: bool, dtype: Any = None, parameters: int = 2
) -> tuple[Conditioner, ConditionerInit]:
    """A `ConvConditioner` as the pair of callables that `bijections.coupling` takes.

    Args:
      width, final_relu, zero_last, dtype, parameters: as there. Couplings that get a condition need a net made with
        one: pass it to `init` too.
    """
    make = functools.partial(
        ConvConditioner, width=width, final_relu=final_relu, zero_last=zero_last, dtype=dtype, parameters=parameters
    )
    return functools.partial(_apply, make, _with_image), functools.partial(_init, make, _with_image)


class DenseConditioner(nn.Module):
    """Dense layers with SiLU between them: (B, ..., c) -> (B, ..., parameters * channels); ends at zero.

    Attributes:
      width: of each hidden layer.
      depth: number of hidden layers.
      channels: channels of the part that moves.
      parameters: values for each element of that part, `parameters` of the coupling's transformer.
    """

    width: int
    depth: int
    channels: int
    parameters: int

    @nn.compact
    def __call__(self, u: jax.Array) -> jax.Array:
        dtype = _wider(u.dtype, jnp.dtype(jnp.float32))
        for _ in range(self.depth):
            u = nn.silu(nn.Dense(self.width, dtype=dtype)(u))
        return nn.Dense(self.parameters * self.channels, dtype=dtype, kernel_init=nn.initializers.zeros_init())(u)


def _with_numbers(u: jax.Array, condition: jax.Array) -> jax.Array:
    """(B, ..., c) values with (B, K) numbers joined at every position."""
    numbers = jnp.asarray(condition).astype(u.dtype)
    if numbers.ndim != 2 or numbers.shape[0] != u.shape[0]:
        raise ValueError(
            f"a dense conditioner takes a condition of (B, K), B = {u.shape[0]}; got shape {numbers.shape}"
        )
    spread = numbers.reshape(u.shape[0], *[1] * (u.ndim - 2), numbers.shape[-1])
    return jnp.concatenate([u, jnp.broadcast_to(spread, (*u.shape[:-1], numbers.shape[-1]))], -1)


def dense_conditioner(width: int, *, depth: int = 2, parameters: int = 2) -> tuple[Conditioner, ConditionerInit]:
    """A `DenseConditioner` as the pair of callables that `bijections.coupling` takes; a condition is (B, K) numbers.

    Args:
      width: of a hidden layer.
      depth: how many hidden layers.
      parameters: numbers an element that the coupling's transformer takes.
    """
    make = functools.partial(DenseConditioner, width=width, depth=depth, parameters=parameters)
    return functools.partial(_apply, make, _with_numbers), functools.partial(_init, make, _with_numbers)
