"""The mixed channels are a product with the matrix that the docstrings give, at every position."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from tests import tolerances
from tests.bijections.members import TABLE, batch, prepared


def test_a_1x1_convolution_is_permutation_times_triangles():
    x, order = batch((2, 3, 4)), (2, 0, 3, 1)
    params = bj.convolution1x1(order).init(jax.random.key(0), x)
    params["log_s"] = jnp.arange(4.0) / 8
    lower = np.tril(params["lower"], -1) + np.eye(4)
    upper = np.triu(params["upper"], 1) + np.diag(np.exp(params["log_s"]))
    y, log_det = bj.convolution1x1(order).forward(params, x)
    np.testing.assert_allclose(y, (x @ (lower @ upper).T)[..., np.array(order)], atol=tolerances.ROUNDING_F32)
    np.testing.assert_allclose(log_det, np.full(2, 3 * params["log_s"].sum()), rtol=tolerances.ROUNDING_F32)


def test_a_1x1_convolution_starts_near_the_reversal():
    x = batch((2, 3, 4))
    y, _ = bj.convolution1x1().forward(bj.convolution1x1().init(jax.random.key(0), x), x)
    assert np.abs(y - x[..., ::-1]).max() < 0.5


def test_an_orthogonal_map_keeps_lengths_and_angles():
    bijection, params, x, _ = prepared(TABLE["orthogonal"])
    y, _ = bijection.forward(params, x)
    np.testing.assert_allclose((y * y[:1]).sum(-1), (x * x[:1]).sum(-1), rtol=tolerances.SUM_F32)
    assert np.abs(y - x).max() > 0.1


@pytest.mark.parametrize("flow", [bj.convolution1x1(), bj.orthogonal()], ids=["convolution1x1", "orthogonal"])
def test_other_channels_than_the_params_have_are_named(flow):
    params = flow.init(jax.random.key(0), jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"takes \(B, ..., 3\); got shape \(2, 4\)"):
        flow.forward(params, jnp.zeros((2, 4)))
