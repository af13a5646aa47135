"""What a coupling does to each element: monotone, invertible, exact at its ends, finite in any precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from fusioninn_jax.bijections.transformers import _atan
from tests import tolerances
from tests.bijections.members import SPLINE


def raw_of(parts, shape, size):
    return [size * jax.random.normal(key, shape) for key in jax.random.split(jax.random.key(3), parts)]


@pytest.mark.parametrize(
    "transformer",
    [bj.affine(), bj.affine(None), bj.additive(), bj.odds(-1, 2), SPLINE],
    ids=["affine", "unclamped", "additive", "odds", "spline"],
)
def test_a_transformer_is_monotone_and_starts_as_the_identity(transformer):
    with jax.enable_x64(True):
        u = jnp.linspace(-5, 5, 2001)
        still, log_slope = transformer.forward(raw_of(transformer.parameters, u.shape, 0), u)
        np.testing.assert_allclose(still, u, atol=tolerances.ROUND_TRIP_F64)
        np.testing.assert_allclose(log_slope, 0, atol=tolerances.ROUND_TRIP_F64)
        same = [jnp.full_like(u, part[0]) for part in raw_of(transformer.parameters, u.shape, 3.0)]
        v, log_slope = transformer.forward(same, u)
        assert (np.diff(v) > 0).all()
        slope = jax.vmap(jax.grad(lambda raw, u: transformer.forward(raw, u)[0]))(same, u)
        exact = jax.vmap(jax.grad(lambda u, raw: transformer.forward(raw, u)[0]))(u, same)
        assert jax.tree.all(jax.tree.map(lambda leaf: bool(np.isfinite(leaf).all()), slope))
        np.testing.assert_allclose(log_slope, np.log(exact), atol=tolerances.LONG_F64)
        back, inverse_log_slope = transformer.inverse(same, v)
        np.testing.assert_allclose(back, u, atol=tolerances.LONG_F64)
        np.testing.assert_allclose(inverse_log_slope, -log_slope, atol=10 * tolerances.LONG_F64)


def test_a_spline_in_float32_with_steep_and_flat_bins():
    u = jnp.linspace(-3, 3, 4001)
    raw = [jnp.full_like(u, part[0]) for part in raw_of(SPLINE.parameters, u.shape, 5.0)]
    v, _ = jax.jit(SPLINE.forward)(raw, u)
    back, _ = jax.jit(SPLINE.inverse)(raw, v)
    again, _ = jax.jit(SPLINE.forward)(raw, back)
    np.testing.assert_allclose(again, v, atol=tolerances.ROUND_TRIP_F32)
    np.testing.assert_array_equal(v[jnp.abs(u) > 2], u[jnp.abs(u) > 2])


def test_gradients_through_a_splines_inverse_are_whole_at_its_knots():
    raw = [jnp.zeros(5)] * SPLINE.parameters  # the identity, with knots at -2, -1, ... 2
    knots = jnp.arange(-2.0, 3)
    np.testing.assert_allclose(
        jax.grad(lambda v: SPLINE.inverse(raw, v)[0].sum())(knots), 1, rtol=tolerances.ROUNDING_F32
    )


@pytest.mark.parametrize("s", [-1000.0, -30.0, -10.0, 30.0, 1000.0])
def test_odds_of_large_parameters_are_finite_and_of_middling_ones_exact(s):
    u = jnp.array([-0.5, 0.0, 1e-3, 0.5, 0.999, 1.0, 1.5])
    raw, transformer = [jnp.full_like(u, s)], bj.odds()
    v, log_slope = transformer.forward(raw, u)
    slopes = jax.grad(lambda raw, u: sum(part.sum() for part in transformer.forward(raw, u)), (0, 1))(raw, u)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((v, log_slope, slopes)))
    if abs(s) < 40:
        inside = np.clip(np.asarray(u, float), 0, 1)
        exact = s - 2 * np.log((1 - inside) + inside * np.exp(s))
        np.testing.assert_allclose(log_slope, exact, rtol=tolerances.SUM_F32, atol=tolerances.SUM_F32)


@pytest.mark.parametrize(
    "transformer", [bj.affine(), bj.additive(), bj.odds(), SPLINE], ids=["affine", "additive", "odds", "spline"]
)
def test_log_slopes_of_low_precision_are_float32(transformer):
    u = jnp.linspace(0.1, 0.9, 5, dtype=jnp.bfloat16)
    raw = [part.astype(u.dtype) for part in raw_of(transformer.parameters, u.shape, 1.0)]
    for direction in (transformer.forward, transformer.inverse):
        moved, log_slope = direction(raw, u)
        assert moved.dtype == jnp.bfloat16 and log_slope.dtype == jnp.float32


def test_a_spline_that_is_given_its_knots():
    """Bins of equal width, heights 1 : 3, slope 1 at the middle: the values at the knots and half-way are known."""
    raw = [jnp.zeros(1), jnp.zeros(1), jnp.zeros(1), jnp.full(1, jnp.log(3.0)), jnp.zeros(1)]
    transformer = bj.rational_quadratic(bins=2, bound=1.0)
    for u, v in ((-1.0, -1.0), (1.0, 1.0), (0.0, -0.5), (-0.5, -0.75 - 0.0)):
        found, _ = transformer.forward(raw, jnp.array([u]))
        # left bin: slope 1/2 overall, 1 at both ends: symmetric, so its middle maps to its middle
        np.testing.assert_allclose(found, [v], atol=2e-3)  # no share is below a thousandth


@pytest.mark.parametrize("settings", [{"bins": 1}, {"bins": 501}, {"bound": 0.0}])
def test_splines_that_cannot_be_are_named(settings):
    with pytest.raises(ValueError, match="spline takes"):
        bj.rational_quadratic(**settings)


def test_the_arc_tangent_of_the_clamp():
    x = np.concatenate([np.linspace(-3, 3, 4001), np.logspace(-30, 38, 200), [-0.0, -1.0, np.inf, -np.inf]])
    x = x.astype(np.float32)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(_atan)))(x)
    exact = x.astype(float)
    np.testing.assert_allclose(value, np.arctan(exact), rtol=tolerances.ATAN_F32)
    np.testing.assert_allclose(slope, 1 / (1 + exact**2), rtol=tolerances.ATAN_F32, atol=np.finfo(np.float32).tiny)
    assert np.isnan(_atan(jnp.float32(jnp.nan)))
