"""A bijection on some channels leaves the others, and costs what those cost."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from tests import tolerances
from tests.bijections.members import batch


def test_inner_has_the_channels_in_the_order_given_and_the_others_stay():
    x = batch((3, 2, 5))
    flow = bj.on_channels(bj.chain(bj.permutation((1, 0)), bj.rescale(2.0)), (3, 1))
    y, log_det = flow.forward(flow.init(jax.random.key(0), x), x)
    np.testing.assert_array_equal(y[..., jnp.array([0, 2, 4])], x[..., jnp.array([0, 2, 4])])
    np.testing.assert_array_equal(y[..., jnp.array([3, 1])], 2 * x[..., jnp.array([1, 3])])
    np.testing.assert_allclose(log_det, np.full(3, 4 * np.log(2)), rtol=tolerances.ROUNDING_F32)


@pytest.mark.parametrize("channels", [(), (1, 1), (-1, 0)])
def test_channels_that_cannot_be_are_named(channels):
    with pytest.raises(ValueError, match="distinct channels"):
        bj.on_channels(bj.identity(), channels)


def test_too_few_channels_are_named():
    with pytest.raises(ValueError, match=r"on_channels takes \(B, ..., C\) with C > 4; got shape \(2, 4\)"):
        bj.on_channels(bj.identity(), (0, 4)).forward({}, jnp.zeros((2, 4)))
