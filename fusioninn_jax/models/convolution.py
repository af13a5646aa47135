"""The pair of 3x3 convolutions in a conditioner, in the form that each backend runs fastest.

Accelerators get XLA's convolution. On a CPU that is slow at these channel counts (1 to 64), most of all its
gradient; there the first convolution is a matrix product with the nine shifted views of its input, the second a
matrix product followed by shifting and adding its nine results, channels first so that rows of pixels stay
contiguous. A few images at a time are taken from input to output, which keeps the hidden layer in the cache, and
the backward pass computes that layer again instead of reading it back from memory.
"""
from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

OFFSETS = [(row, column) for row in range(3) for column in range(3)]
CHUNK_PIXELS = 2 * 96 * 96  # about 2 MB of hidden layer; measured best on two cores


class ConvPair(NamedTuple):
    """Weights of conv3x3 (c -> h), ReLU, conv3x3 (h -> o): kernels (3, 3, in, out), biases (out,)."""

    kernel1: jax.Array
    bias1: jax.Array
    kernel2: jax.Array
    bias2: jax.Array


def conv_relu_conv(weights: ConvPair, x: jax.Array) -> jax.Array:
    """conv3x3, ReLU, conv3x3 with zero padding: (B, H, W, c) -> (B, H, W, o)."""
    return jax.lax.platform_dependent(weights, x, cpu=_by_products, default=_by_convolutions)


def _by_convolutions(weights: ConvPair, x: jax.Array) -> jax.Array:
    def conv(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        return bias + jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", precision="highest",
                                                   dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return conv(jax.nn.relu(conv(x, weights.kernel1, weights.bias1)), weights.kernel2, weights.bias2)


def _by_products(weights: ConvPair, x: jax.Array) -> jax.Array:
    batch, height, width, channels = x.shape
    together = math.gcd(batch, max(1, CHUNK_PIXELS // (height * width)))
    chunks = x.reshape(batch // together, together, height, width, channels)
    out = jax.lax.map(jax.checkpoint(lambda chunk: _products_of_chunk(weights, chunk)), chunks)
    return out.reshape(batch, height, width, -1)


def _products_of_chunk(weights: ConvPair, x: jax.Array) -> jax.Array:
    channels, hidden, out = x.shape[-1], weights.kernel1.shape[-1], weights.kernel2.shape[-1]
    planes = jnp.moveaxis(x, -1, 0)  # (c, b, H, W)
    views = _shifted_views(planes).reshape(9 * channels, -1)
    first = _product(weights.kernel1.reshape(9 * channels, hidden).T, views)
    active = jax.nn.relu(first + weights.bias1[:, None])
    second = _product(weights.kernel2.transpose(0, 1, 3, 2).reshape(9 * out, hidden), active)
    return jnp.moveaxis(_shift_and_add(second.reshape(9, out, *planes.shape[1:])), 0, -1) + weights.bias2


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")


def _views(x: jax.Array) -> jax.Array:
    """The nine shifts of (..., H, W), zeros beyond the edge: (9, ..., H, W)."""
    height, width = x.shape[-2:]
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 1), (1, 1)])
    return jnp.stack([padded[..., row:row + height, column:column + width] for row, column in OFFSETS])


def _sum_shifted(x: jax.Array) -> jax.Array:
    """Shifts each of (9, ..., H, W) by its own offset and adds them: (..., H, W)."""
    height, width = x.shape[-2:]
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(1, 1), (1, 1)])
    terms = (padded[k, ..., row:row + height, column:column + width] for k, (row, column) in enumerate(OFFSETS))
    return functools.reduce(jnp.add, terms)


# Each of the two is the other's transpose, up to the order of the offsets. Said to JAX by hand, since the transpose
# that it derives from slices and pads is several times slower.
@jax.custom_vjp
def _shifted_views(x: jax.Array) -> jax.Array:
    return _views(x)


@jax.custom_vjp
def _shift_and_add(x: jax.Array) -> jax.Array:
    return _sum_shifted(x)


_shifted_views.defvjp(lambda x: (_views(x), None), lambda _, g: (_sum_shifted(g[::-1]),))
_shift_and_add.defvjp(lambda x: (_sum_shifted(x), None), lambda _, g: (_views(g)[::-1],))
