"""The products over shifted views against XLA's own convolution, values and gradients, whole images and strips."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from fusioninn_jax.models import convolution
from tests import tolerances


@pytest.mark.parametrize(
    "shape,channels,strip_pixels",
    [
        ((4, 6, 5), (1, 3, 2), 10_000),  # whole images together
        ((2, 11, 6), (3, 4, 8), 24),  # three strips that the height does not fill
        ((1, 8, 4), (2, 3, 2), 16),  # two strips that fill it
        ((1, 5, 4), (2, 3, 2), 4),  # strips of one row, of which several overlap
    ],
)
@pytest.mark.parametrize("many", [1, 100])  # XLA's convolution forward, or the products
def test_both_ways_on_a_cpu_are_the_convolutions(monkeypatch, shape, channels, strip_pixels, many):
    monkeypatch.setattr(convolution, "STRIP_PIXELS", strip_pixels)
    monkeypatch.setattr(convolution, "MANY_CHANNELS", many)
    first, hidden, out = channels
    with jax.enable_x64(True):
        generator = np.random.default_rng(0)
        sizes = (3, 3, first, hidden), (hidden,), (3, 3, hidden, out), (out,), (*shape, first), (*shape, out)
        *weights, x, cotangent = (generator.standard_normal(size) for size in sizes)

        def everything(function):
            value, pull = jax.vjp(function, convolution.ConvPair(*weights), x)
            return value, *jax.tree.leaves(pull(cotangent))

        both = jax.jit(lambda: [everything(of) for of in (convolution._on_cpu, convolution._by_convolutions)])
        for ours, expected in zip(*both(), strict=True):
            np.testing.assert_allclose(ours, expected, atol=tolerances.GOLDEN_F64)


def small_pair():
    shapes = convolution.ConvPair((3, 3, 1, 3), (3,), (3, 3, 3, 2), (2,))
    return convolution.ConvPair(
        *(np.sin(1 + np.arange(np.prod(shape), dtype=np.float32)).reshape(shape) for shape in shapes)
    )


def sum_of_sines(weights, x):
    return jnp.sin(convolution.conv_relu_conv(weights, x)).sum()


@pytest.mark.parametrize("of_weights,of_images", [(P(), P("batch")), (P("batch"), P())])
@pytest.mark.parametrize("height", [8, convolution.STRIP_PIXELS // 64])  # whole images, or strips
def test_gradients_within_shard_map_whatever_varies(of_weights, of_images, height):
    mesh = jax.make_mesh((2,), ("batch",), axis_types=(AxisType.Auto,))
    one, x = small_pair(), np.cos(np.arange(2 * height * 65, dtype=np.float32)).reshape(2, height, 65, 1)
    weights = jax.tree.map(lambda leaf: np.stack([leaf, 2 * leaf]) if of_weights else leaf[None], one)

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=(of_weights, of_images), out_specs=P())
    def mapped(weights, x):
        return jax.lax.psum(sum_of_sines(jax.tree.map(lambda leaf: leaf[0], weights), x), "batch")

    def plain(weights, x):
        if of_images:
            return sum_of_sines(jax.tree.map(lambda leaf: leaf[0], weights), x)
        return sum(sum_of_sines(jax.tree.map(lambda leaf, i=i: leaf[i], weights), x) for i in range(2))

    found, expected = (jax.jit(jax.grad(of, (0, 1)))(weights, x) for of in (mapped, plain))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerances.SUM_F32 * np.abs(b).max())


def test_gradients_export_with_an_open_batch():
    weights, x = small_pair(), np.cos(np.arange(3 * 4 * 4, dtype=np.float32)).reshape(3, 4, 4, 1)
    gradient = jax.jit(jax.grad(functools.partial(sum_of_sines, weights)))
    (b,) = export.symbolic_shape("b")
    found = export.export(gradient)(jax.ShapeDtypeStruct((b, 4, 4, 1), x.dtype)).call(x)
    np.testing.assert_allclose(found, gradient(x), rtol=tolerances.SUM_F32, atol=tolerances.SUM_F32)
