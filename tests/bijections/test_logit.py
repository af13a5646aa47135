"""The logit inside the unit interval and beyond."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from tests import tolerances


def test_logit_is_the_formula_inside_and_smooth_and_monotone_beyond():
    with jax.enable_x64(True):
        x = jnp.linspace(-0.5, 1.5, 4001)[None]
        y, _ = bj.logit_forward(x, shrinkage=0.01)
        inside = (x >= 0) & (x <= 1)
        p = 0.01 + 0.98 * x[inside]
        np.testing.assert_allclose(y[inside], np.log(p / (1 - p)), atol=tolerances.LONG_F64)
        slopes = np.diff(np.asarray(y)[0])
        assert (slopes > 0).all() and np.abs(np.diff(slopes)).max() < 0.06 * slopes.max()


@pytest.mark.parametrize("dtype,shrinkage", [(jnp.bfloat16, 1e-4), (jnp.float16, 1e-4), (jnp.float32, 1e-8)])
def test_logit_of_both_ends_is_finite_in_any_precision(dtype, shrinkage):
    x = jnp.array([[0.0, 0.5, 1.0]], dtype)
    y, log_det = bj.logit_forward(x, shrinkage=shrinkage)
    back, _ = bj.logit_inverse(y, shrinkage=shrinkage)
    assert y.dtype == back.dtype == dtype and np.isfinite(log_det).all()
    np.testing.assert_allclose(
        y[0].astype(float), [-np.log(1 / shrinkage), 0, np.log(1 / shrinkage)], rtol=tolerances.BFLOAT16
    )
    np.testing.assert_allclose(back.astype(float), x.astype(float), atol=tolerances.BFLOAT16)


def test_a_saturating_value_comes_back_in_float32():
    y = jnp.array([[-40.0, -9.0, 0.3, 12.0, 40.0]])
    x, _ = bj.logit_inverse(y, shrinkage=0.01)
    np.testing.assert_allclose(bj.logit_forward(x, shrinkage=0.01)[0], y, atol=tolerances.LONG_F32)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5])
def test_other_shrinkages_are_named(shrinkage):
    with pytest.raises(ValueError, match="shrinkage"):
        bj.logit(shrinkage=shrinkage)
