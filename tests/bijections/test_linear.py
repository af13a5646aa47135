"""The fixed linear maps are their formulas."""

import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from tests import tolerances
from tests.bijections.members import batch


@pytest.mark.parametrize("position", [0, 1, -1])
def test_the_mean_stands_where_it_is_wanted_and_the_differences_elsewhere(position):
    x = batch((2, 3, 4))
    y, _ = bj.mean_difference(position).forward({}, x)
    y = np.roll(y, -position, axis=-1)
    np.testing.assert_allclose(y[..., 0], x.mean(-1), rtol=tolerances.ROUNDING_F32)
    np.testing.assert_allclose(y[..., 1:], x[..., :-1] - x[..., 1:], atol=tolerances.ROUNDING_F32)


def test_rescale_is_its_formula():
    x = batch((3, 2, 5))
    y, log_det = bj.rescale(-4.0, 0.5).forward({}, x)
    np.testing.assert_allclose(y, -4 * (x - 0.5), atol=tolerances.ROUNDING_F32)
    np.testing.assert_allclose(log_det, np.full(3, 10 * np.log(4)), rtol=tolerances.ROUNDING_F32)


def test_scales_and_channels_that_cannot_be_are_named():
    for scale in (0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="finite scale that is not 0"):
            bj.rescale(scale)
    with pytest.raises(ValueError, match="C ≥ 2"):
        bj.mean_difference().forward({}, jnp.zeros((2, 1)))
