"""The sums that the latent loss is made of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax.latent_losses import latent_sums
from tests import tolerances


def test_wave_sums_are_the_formula_and_so_is_their_gradient():
    p, weight = jax.random.normal(jax.random.key(0), (3, 50)), jnp.arange(50) % 3 * 0.5

    def plain(p):
        angles = latent_sums.T[:, None, None] * p
        return jnp.stack([(weight * jnp.cos(angles)).sum(-1), (weight * jnp.sin(angles)).sum(-1)])

    found, back = jax.vjp(lambda p: latent_sums.wave_sums(p, weight), p)
    expected, expected_back = jax.vjp(plain, p)
    np.testing.assert_allclose(found, expected, atol=tolerances.LONG_F32)
    cotangent = jax.random.normal(jax.random.key(1), expected.shape)
    np.testing.assert_allclose(back(cotangent)[0], expected_back(cotangent)[0], atol=tolerances.LONG_F32)


@pytest.mark.parametrize("channels", [1, 3])
def test_directions_have_length_one(channels):
    directions = latent_sums.draw_directions(jax.random.key(0), channels, jnp.float32)
    flat = directions.reshape(len(directions), -1)
    np.testing.assert_allclose((flat**2).sum(-1), 1, rtol=tolerances.SUM_F32)
