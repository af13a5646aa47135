"""The brightened mean: where nothing differs it is the mean, and the coupling that makes it is exactly that rule."""

import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax.bijections import mean_difference
from fusioninn_jax.models import salient
from tests import tolerances
from tests.metrics.pictures import picture

SHAPE = (2, 20, 24, 1)


def test_equal_sources_and_background_are_not_brightened():
    x = picture(1, SHAPE)
    np.testing.assert_array_equal(salient.saliency(jnp.zeros((*SHAPE[:3], 2))), np.zeros(SHAPE))
    np.testing.assert_allclose(salient.salient_mean(x, x), x, atol=tolerances.ROUNDING_F32)
    fused = salient.salient_mean(*(np.pad(picture(i, SHAPE), ((0, 0), (0, 9), (0, 0), (0, 0))) for i in (1, 2)))
    assert not np.asarray(fused)[:, -9:].any()


def test_saliency_is_bounded_and_highest_at_the_odd_one_out():
    deviations = np.random.default_rng(0).normal(0, 0.02, (1, 32, 32, 2)).astype(np.float32)
    deviations[:, 14:18, 14:18] += 0.4
    found = np.asarray(salient.saliency(jnp.asarray(deviations)))
    assert found.shape == (1, 32, 32, 1) and found.min() >= 0 and found.max() <= salient.CAP
    assert found[0, 15:17, 15:17].min() > 2 * found[0, :4, :4].max()


@pytest.mark.parametrize("sources,position", [(2, 0), (3, -1)])
def test_the_opening_makes_the_rule_of_the_mean_and_the_differences(sources, position):
    images, scale = [picture(i, SHAPE) for i in range(sources)], 4.0
    x, _ = mean_difference(position).forward({}, scale * (jnp.concatenate(images, -1) - 0.5))
    y, _ = salient.opening(position, sources, scale).forward({}, x)
    wanted = scale * (salient.salient_mean(*images)[..., 0] - 0.5)
    np.testing.assert_allclose(y[..., position], wanted, atol=tolerances.SUM_F32)
    others = np.arange(sources) != position % sources
    np.testing.assert_array_equal(y[..., others], x[..., others])
