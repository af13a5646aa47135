"""The products over shifted views against XLA's own convolution, values and gradients, whole images and strips."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
        keys = jax.random.split(jax.random.key(0), 6)

        def normal(key, *size):
            return jax.random.normal(key, size, jnp.float64)

        weights = convolution.ConvPair(
            normal(keys[0], 3, 3, first, hidden),
            normal(keys[1], hidden),
            normal(keys[2], 3, 3, hidden, out),
            normal(keys[3], out),
        )
        x, cotangent = normal(keys[4], *shape, first), normal(keys[5], *shape, out)

        def everything(function):
            value, pull = jax.vjp(function, weights, x)
            return value, *jax.tree.leaves(pull(cotangent))

        ours = jax.jit(lambda: everything(convolution._on_cpu))()
        expected = jax.jit(lambda: everything(convolution._by_convolutions))()
        for a, b in zip(ours, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=tolerances.GOLDEN_F64)
