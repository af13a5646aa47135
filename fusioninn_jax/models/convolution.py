"""The pair of 3x3 convolutions in a conditioner, in the form that each backend runs fastest.

Accelerators get XLA's convolution. On a CPU it is slow for inputs of one channel, and its gradient for all of these
(1 to 64 channels); there the first convolution is a matrix product with the nine shifted views of its input, the second
a matrix product followed by shifting and adding its nine results, channels first so that rows of pixels stay
contiguous. A few images at a time are taken from input to output. The backward pass keeps only the input; it takes one
strip of an image after the other, so that the hidden layer, computed again, and its gradient stay in the cache.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp

from fusioninn_jax.bijections.base import varying_as

Offsets = list[tuple[int, int]]
OFFSETS: Offsets = [(row, column) for row in range(3) for column in range(3)]
PRECISION: str | None = "highest"  # of float32 on accelerators; gpu.py tries None, the card's own (TF32)
# measured best on two cores (docs/PERFORMANCE.md)
CHUNK_PIXELS = 2 * 96 * 96  # of the images taken together, about 2 MB of hidden layer
STRIP_PIXELS = 48 * 240  # of the strips that the backward pass cuts larger images into
MANY_CHANNELS = 2  # from here on XLA's convolution is the faster one forward, up to three times at 64


class ConvPair(NamedTuple):
    """Weights of conv3x3 (c -> h), ReLU, conv3x3 (h -> o): kernels (3, 3, in, out), biases (out,)."""

    kernel1: jax.Array
    bias1: jax.Array
    kernel2: jax.Array
    bias2: jax.Array


def conv_relu_conv(weights: ConvPair, x: jax.Array) -> jax.Array:
    """`x` through conv3x3, ReLU, conv3x3 of these `weights`, with zero padding: (B, H, W, c) -> (B, H, W, o)."""
    if 0 in x.shape:
        return jnp.zeros((*x.shape[:3], weights.bias2.size), x.dtype)
    weights, x = varying_as((weights, x), weights, x)
    return jax.lax.platform_dependent(weights, x, cpu=_on_cpu, default=_by_convolutions)


def _by_convolutions(weights: ConvPair, x: jax.Array) -> jax.Array:
    def conv(x: jax.Array, kernel: jax.Array, bias: jax.Array) -> jax.Array:
        return bias[None, None, None] + jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", precision=PRECISION, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    return conv(jax.nn.relu(conv(x, weights.kernel1, weights.bias1)), weights.kernel2, weights.bias2)


@jax.custom_jvp
def _on_cpu(weights: ConvPair, x: jax.Array) -> jax.Array:
    forward = _by_products if x.shape[-1] < MANY_CHANNELS else _by_few_convolutions
    return forward(weights, x)


def _by_few_convolutions(weights: ConvPair, x: jax.Array) -> jax.Array:
    """XLA's convolutions, of a few images at a time."""
    together = _images_together(x)

    def body(i: jax.Array, out: jax.Array) -> jax.Array:
        images = jax.lax.dynamic_slice_in_dim(x, i * together, together)
        return jax.lax.dynamic_update_slice_in_dim(out, _by_convolutions(weights, images), i * together, 0)

    filled = _to_fill(x, (*x.shape[:3], weights.bias2.size))
    return jax.lax.fori_loop(0, x.shape[0] // together, body, filled)


def _by_products(weights: ConvPair, x: jax.Array) -> jax.Array:
    batch, height, width, _ = x.shape
    together = _images_together(x)
    planes = jnp.moveaxis(x, -1, 0)  # (c, B, H, W)

    def body(i: jax.Array, out: jax.Array) -> jax.Array:
        images = _images(planes, i * together, together)
        return jax.lax.dynamic_update_slice_in_dim(out, _products_of_chunk(weights, images, None), i * together, 1)

    filled = _to_fill(x, (weights.bias2.size, batch, height, width))
    return jnp.moveaxis(jax.lax.fori_loop(0, batch // together, body, filled), 0, -1)


@_on_cpu.defjvp
def _on_cpu_jvp(
    primals: tuple[ConvPair, jax.Array], tangents: tuple[ConvPair, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    """The derivative J of the convolutions, whose transpose is the hand-written backward pass.

    JAX lets one give a function a transpose only as the solution of a linear system; so J · t is here the second part
    of the solution of [[1, 0], [-J, 1]] [t, y] = [t, 0], a system with nothing to solve, of one flat vector. Forward
    mode, and derivatives of derivatives, then work too, where `custom_vjp` refuses the former. XLA drops the copies.
    """
    flat, unflat = jax.flatten_util.ravel_pytree(tangents)
    out = _on_cpu(*primals)

    def halves(pair: jax.Array) -> tuple[jax.Array, jax.Array]:
        return pair[: flat.size], pair[flat.size :]

    def derivative(t: jax.Array) -> jax.Array:
        return jax.jvp(_by_convolutions, primals, unflat(t))[1].ravel()

    def system(pair: jax.Array) -> jax.Array:
        t, y = halves(pair)
        return jnp.concatenate([t, y - derivative(t)])

    def solved(_: Any, pair: jax.Array) -> jax.Array:
        t, y = halves(pair)
        return jnp.concatenate([t, y + derivative(t)])

    def solved_transpose(_: Any, pair: jax.Array) -> jax.Array:
        t, y = halves(pair)
        back = _on_cpu_bwd(primals, y.reshape(out.shape))
        return jnp.concatenate([t + jax.flatten_util.ravel_pytree(back)[0], y])

    right = jnp.concatenate([flat, jnp.zeros(out.size, out.dtype)])
    solution = jax.lax.custom_linear_solve(system, right, solved, solved_transpose)
    return out, halves(solution)[1].reshape(out.shape)


def _on_cpu_bwd(primals: tuple[ConvPair, jax.Array], g: jax.Array) -> tuple[ConvPair, jax.Array]:
    weights, x = primals
    strips = -(-(x.shape[1] * x.shape[2]) // STRIP_PIXELS)
    backward = _backward_of_images if strips == 1 else functools.partial(_backward_of_strips, strips=strips)
    g_weights, g_planes = backward(weights, x, jnp.moveaxis(g, -1, 0))
    return g_weights, jnp.moveaxis(g_planes, 0, -1)


def _images_together(x: jax.Array) -> int:
    """How many whole images of (B, H, W, c) are taken at a time: a divisor of the batch."""
    batch, height, width, _ = x.shape
    if not isinstance(batch, int):  # left open, in an export
        return 1
    return math.gcd(batch, max(1, CHUNK_PIXELS // (height * width)))


def _images(planes: jax.Array, first: jax.Array, count: int) -> jax.Array:
    """`count` images of (c, B, H, W)."""
    return jax.lax.dynamic_slice_in_dim(planes, first, count, axis=1)


def _to_fill(x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """An array whose every value a loop will replace.

    It holds one of `x`'s values, so that XLA makes it after `x`. Zeros for all loops of a deep flow would be made when
    the program starts, and kept until each loop runs.
    """
    return jnp.broadcast_to(x.ravel()[0], shape)


def _backward_of_images(weights: ConvPair, x: jax.Array, g: jax.Array) -> tuple[ConvPair, jax.Array]:
    """Cotangents of the weights and of the (c, B, H, W) planes, for (B, H, W, c) `x` and (o, B, H, W) `g`.

    Some whole images at a time.
    """
    planes, together = jnp.moveaxis(x, -1, 0), _images_together(x)

    def body(i: jax.Array, carry: tuple[ConvPair, jax.Array]) -> tuple[ConvPair, jax.Array]:
        g_weights, g_planes = carry
        images, g_images = (_images(of_all, i * together, together) for of_all in (planes, g))
        g_own, g_images = jax.vjp(lambda w, x: _products_of_chunk(w, x, None), weights, images)[1](g_images)
        return (
            jax.tree.map(jnp.add, g_weights, g_own),
            jax.lax.dynamic_update_slice_in_dim(g_planes, g_images, i * together, 1),
        )

    start = jax.tree.map(jnp.zeros_like, weights), _to_fill(x, planes.shape)
    return jax.lax.fori_loop(0, x.shape[0] // together, body, start)


def _backward_of_strips(weights: ConvPair, x: jax.Array, g: jax.Array, *, strips: int) -> tuple[ConvPair, jax.Array]:
    """As `_backward_of_images`, one strip of rows of one image at a time.

    A strip's input has two more rows on each side, so four rows get their cotangent from two strips.
    """
    batch, height, width, channels = x.shape
    rows = -(-height // strips)
    margins = [(0, 0), (0, 0), (2, strips * rows - height + 2), (0, 0)]
    planes = jnp.pad(jnp.moveaxis(x, -1, 0), margins)
    g = jnp.pad(g, [(0, 0), (0, 0), (0, strips * rows - height), (0, 0)])

    def body(i: jax.Array, carry: tuple[ConvPair, jax.Array, jax.Array]) -> tuple[ConvPair, jax.Array, jax.Array]:
        g_weights, g_planes, from_above = carry
        image, strip = i // strips, i % strips
        start = (0, image, strip * rows, 0)
        position = strip * rows - 1 + jnp.arange(rows + 2)  # of the hidden rows
        inside = (position >= 0) & (position < height)
        own = jax.lax.dynamic_slice(planes, start, (channels, 1, rows + 4, width))
        g_out = jax.lax.dynamic_slice(g, start, (len(g), 1, rows, width))
        g_own, g_strip = jax.vjp(lambda w, x: _products_of_chunk(w, x, inside), weights, own)[1](g_out)
        g_strip += jnp.pad(jnp.where(strip > 0, from_above, 0), [(0, 0), (0, 0), (0, rows), (0, 0)])
        return (
            jax.tree.map(jnp.add, g_weights, g_own),
            jax.lax.dynamic_update_slice(g_planes, g_strip, start),
            g_strip[:, :, -4:],
        )

    start = (
        jax.tree.map(jnp.zeros_like, weights),
        _to_fill(x, planes.shape),
        varying_as(jnp.zeros((channels, 1, 4, width), x.dtype), x),
    )
    g_weights, g_planes, _ = jax.lax.fori_loop(0, batch * strips, body, start)
    return g_weights, g_planes[:, :, 2 : height + 2]


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
        active *= jnp.repeat(inside.astype(x.dtype), x.shape[-1])[None]
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
    return jnp.stack([padded[..., row : row + rows, column : column + width] for row, column in offsets])


def _sum_shifted(x: jax.Array, margin: int, offsets: Offsets) -> jax.Array:
    """Shifts each of (9, ..., R, W), with a margin, by its own offset and adds them: (..., R - 2 + 2 · margin, W)."""
    rows, width = x.shape[-2] - 2 + 2 * margin, x.shape[-1]
    padded = _padded(x, margin)
    terms = (padded[k, ..., row : row + rows, column : column + width] for k, (row, column) in enumerate(offsets))
    return functools.reduce(jnp.add, terms)


# Each of the two is the other's transpose, with the offsets in the other order and the margin that remains. Said to
# JAX by hand, since the transpose that it derives from slices and pads is several times slower.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _shifted_views(x: jax.Array, margin: int) -> jax.Array:
    return _views(x, margin, OFFSETS)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _shift_and_add(x: jax.Array, margin: int) -> jax.Array:
    return _sum_shifted(x, margin, OFFSETS)


_shifted_views.defvjp(
    lambda x, margin: (_views(x, margin, OFFSETS), None),
    lambda margin, _, g: (_sum_shifted(g, 2 - margin, OFFSETS[::-1]),),
)
_shift_and_add.defvjp(
    lambda x, margin: (_sum_shifted(x, margin, OFFSETS), None),
    lambda margin, _, g: (_views(g, 2 - margin, OFFSETS[::-1]),),
)
