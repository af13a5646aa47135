"""ActNorm adapts to what it is given, in either direction and within others."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from tests import tolerances
from tests.bijections.members import batch, dense, dense_init


def test_it_starts_with_zero_mean_and_unit_unbiased_deviation():
    with jax.enable_x64(True):
        x = 3 + 5 * batch((4, 5, 6, 2), jnp.float64)
        y, _ = bj.actnorm_forward(bj.actnorm_init(x), x)
        np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=tolerances.ROUND_TRIP_F64)
        np.testing.assert_allclose(y.std((0, 1, 2), ddof=1), 1, atol=tolerances.ROUND_TRIP_F64)


def test_a_constant_channel_is_finite():
    params = bj.actnorm_init(jnp.full((2, 4, 4, 2), 0.25))
    assert np.isfinite(params["scale"]).all()
    np.testing.assert_allclose(bj.actnorm_forward(params, jnp.full((2, 4, 4, 2), 0.25))[0], 0)


@pytest.mark.parametrize("value", [0.1, 0.3, 100.1])
def test_a_constant_that_rounds_keeps_scale_zero(value):
    x = jnp.full((1000, 1), value)
    for init in (bj.actnorm().init, bj.actnorm().inverted().init):
        assert init(jax.random.key(0), x)["scale"] == 0


@pytest.mark.parametrize(
    "flow",
    [
        bj.chain(bj.actnorm().inverted()),
        bj.chain(bj.rescale(3.0), bj.coupling(dense, dense_init), bj.actnorm()),
        bj.scan(bj.chain(bj.convolution1x1(), bj.actnorm()), 2),
    ],
    ids=["inverted", "chain", "scan"],
)
def test_an_actnorm_normalises_where_it_stands(flow):
    x = 3 + 5 * batch((50, 2))
    y, _ = jax.jit(lambda x: flow.forward(flow.init(jax.random.key(0), x), x))(x)
    np.testing.assert_allclose(np.mean(y, 0), 0, atol=tolerances.SUM_F32)
    np.testing.assert_allclose(np.std(y, 0, ddof=1), 1, atol=tolerances.SUM_F32)


@pytest.mark.parametrize(
    "flow",
    [
        bj.on_channels(bj.actnorm(), (3, 0)),
        bj.split(bj.chain(bj.actnorm(), bj.reshape((2,), (1, 2))), (4,), split=(0, 3)),
    ],
    ids=["on_channels", "split"],
)
def test_an_inverted_actnorm_within_another_normalises_too(flow):
    y = 3 * np.random.default_rng(0).standard_normal((50, 4), np.float32) + 1
    x, _ = jax.jit(lambda y: flow.inverse(flow.inverted().init(jax.random.key(1), y), y))(y)
    np.testing.assert_allclose(np.std(np.asarray(x)[:, [0, 3]], 0, ddof=1), 1, rtol=tolerances.SUM_F32)


def test_other_channels_than_the_params_have_are_named():
    with pytest.raises(ValueError, match=r"actnorm takes \(B, ..., 3\); got shape \(4, 1\)"):
        bj.actnorm_forward({"scale": jnp.zeros(3), "bias": jnp.zeros(3)}, jnp.zeros((4, 1)))
