"""The pair of 3x3 convolutions in a conditioner, in the form that each backend runs fastest.

Accelerators get XLA's convolution. On a CPU that is slow at these channel counts (1 to 64), most of all its
gradient; there the first convolution is a matrix product with the nine shifted views of its input, the second a
matrix product followed by shifting and adding its nine results, channels first so that rows of pixels stay
contiguous. A few images at a time are taken from input to output. The backward pass keeps only the input; it takes one
strip of an image after the other, so that the hidden layer, computed again, and its gradient stay in the cache.
"""
from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Offsets = list[tuple[int, int]]
OFFSETS: Offsets = [(row, column) for row in range(3) for column in range(3)]
# measured best on two cores (docs/PERFORMANCE.md)
CHUNK_PIXELS = 2 * 96 * 96  # of the images taken together, about 2 MB of hidden layer
STRIP_PIXELS = 48 * 240  # of the strips that the backward pass cuts larger images into


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


@jax.custom_vjp
def _by_products(weights: ConvPair, x: jax.Array) -> jax.Array:
    return _in_chunks(weights, x, strips=1)


def _by_products_bwd(residuals: tuple[ConvPair, jax.Array], g: jax.Array) -> tuple[ConvPair, jax.Array]:
    strips = -(-(g.shape[1] * g.shape[2]) // STRIP_PIXELS)
    return jax.vjp(functools.partial(_in_chunks, strips=strips), *residuals)[1](g)


_by_products.defvjp(lambda weights, x: (_by_products(weights, x), (weights, x)), _by_products_bwd)


def _in_chunks(weights: ConvPair, x: jax.Array, *, strips: int) -> jax.Array:
    """(B, H, W, c) -> (B, H, W, o), some whole images or one strip of an image at a time."""
    batch, height, width, _ = x.shape
    together = math.gcd(batch, max(1, CHUNK_PIXELS // (height * width)))
    rows = -(-height // strips)
    planes = jnp.moveaxis(x, -1, 1)  # (B, c, H, W)
    if strips == 1:
        chunks, inside = planes[:, None], None
    else:
        padded = jnp.pad(planes, [(0, 0), (0, 0), (2, strips * rows - height + 2), (0, 0)])
        chunks = jnp.stack([padded[:, :, i * rows:(i + 1) * rows + 4] for i in range(strips)], 1)
        inside = jnp.asarray(np.tile(_rows_inside(height, strips, rows), (batch // together, 1)))
    chunks = chunks.reshape(-1, together, *chunks.shape[2:]).swapaxes(1, 2)  # (n, c, b, rows, W)
    out = jax.lax.map(jax.checkpoint(lambda chunk: _products_of_chunk(weights, *chunk)), (chunks, inside))
    out = jnp.moveaxis(out.swapaxes(1, 2).reshape(batch, strips, -1, rows, width), 2, -1)
    return out.reshape(batch, strips * rows, width, -1)[:, :height]


def _rows_inside(height: int, strips: int, rows: int) -> np.ndarray:
    """(strips, rows + 2), false where a strip's hidden row lies above or below the image."""
    position = np.arange(strips)[:, None] * rows + np.arange(rows + 2) - 1
    return (position >= 0) & (position < height)


def _products_of_chunk(weights: ConvPair, x: jax.Array, inside: jax.Array | None) -> jax.Array:
    """(c, b, R, W) images -> (o, b, R, W), or a strip with its margins, (c, 1, R + 4, W) -> (o, 1, R, W).

    `inside`, (R + 2,), marks the strip's hidden rows that lie in the image; the second convolution pads the others.
    """
    margin = 1 if inside is None else 0
    channels, hidden, out = x.shape[0], weights.kernel1.shape[-1], weights.kernel2.shape[-1]
    views = _shifted_views(x, margin)
    first = _product(weights.kernel1.reshape(9 * channels, hidden).T, views.reshape(9 * channels, -1))
    active = jax.nn.relu(first + weights.bias1[:, None])
    if inside is not None:
        active *= jnp.repeat(inside.astype(x.dtype), x.shape[-1])
    second = _product(weights.kernel2.transpose(0, 1, 3, 2).reshape(9 * out, hidden), active)
    return _shift_and_add(second.reshape(9, out, *views.shape[2:]), margin) + weights.bias2[:, None, None, None]


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision="highest")


def _padded(x: jax.Array, margin: int) -> jax.Array:
    """Zeros about the last two axes: `margin` rows above and below, one column at each side."""
    return jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(margin, margin), (1, 1)])


def _views(x: jax.Array, margin: int, offsets: Offsets) -> jax.Array:
    """The nine shifts of (..., R, W) with a margin: (9, ..., R - 2 + 2 · margin, W)."""
    rows, width = x.shape[-2] - 2 + 2 * margin, x.shape[-1]
    padded = _padded(x, margin)
    return jnp.stack([padded[..., row:row + rows, column:column + width] for row, column in offsets])


def _sum_shifted(x: jax.Array, margin: int, offsets: Offsets) -> jax.Array:
    """Shifts each of (9, ..., R, W), with a margin, by its own offset and adds them: (..., R - 2 + 2 · margin, W)."""
    rows, width = x.shape[-2] - 2 + 2 * margin, x.shape[-1]
    padded = _padded(x, margin)
    terms = (padded[k, ..., row:row + rows, column:column + width] for k, (row, column) in enumerate(offsets))
    return functools.reduce(jnp.add, terms)


# Each of the two is the other's transpose, with the offsets in the other order and the margin that remains. Said to
# JAX by hand, since the transpose that it derives from slices and pads is several times slower.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _shifted_views(x: jax.Array, margin: int) -> jax.Array:
    return _views(x, margin, OFFSETS)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _shift_and_add(x: jax.Array, margin: int) -> jax.Array:
    return _sum_shifted(x, margin, OFFSETS)


_shifted_views.defvjp(lambda x, margin: (_views(x, margin, OFFSETS), None),
                      lambda margin, _, g: (_sum_shifted(g, 2 - margin, OFFSETS[::-1]),))
_shift_and_add.defvjp(lambda x, margin: (_sum_shifted(x, margin, OFFSETS), None),
                      lambda margin, _, g: (_views(g, 2 - margin, OFFSETS[::-1]),))
