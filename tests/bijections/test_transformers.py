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
    return list(size * np.random.default_rng(3).standard_normal((parts, *shape)))


@pytest.mark.parametrize(
    "transformer",
    [bj.affine(), bj.affine(None), bj.additive(), bj.odds(-1, 2), SPLINE],
    ids=["affine", "unclamped", "additive", "odds", "spline"],
)
def test_a_transformer_is_monotone_and_starts_as_the_identity(transformer):
    with jax.enable_x64(True):
        u = np.linspace(-5, 5, 2001)
        still = raw_of(transformer.parameters, u.shape, 0)
        same = [np.full_like(u, part[0]) for part in raw_of(transformer.parameters, u.shape, 3.0)]

        def value(raw, u):
            return transformer.forward(raw, u)[0]

        @jax.jit
        def everything(raw, u):
            v, log_slope = transformer.forward(raw, u)
            return v, log_slope, *jax.vmap(jax.grad(value, (0, 1)))(raw, u), *transformer.inverse(raw, v)

        v, log_slope, *_ = everything(still, u)
        np.testing.assert_allclose(v, u, atol=tolerances.ROUND_TRIP_F64)
        np.testing.assert_allclose(log_slope, 0, atol=tolerances.ROUND_TRIP_F64)
        v, log_slope, slope, exact, back, inverse_log_slope = jax.tree.map(np.asarray, everything(same, u))
        assert (np.diff(v) > 0).all()
        assert all(np.isfinite(leaf).all() for leaf in slope)
        np.testing.assert_allclose(log_slope, np.log(exact), atol=tolerances.LONG_F64)
        np.testing.assert_allclose(back, u, atol=tolerances.LONG_F64)
        np.testing.assert_allclose(inverse_log_slope, -log_slope, atol=10 * tolerances.LONG_F64)


def test_a_spline_in_float32_with_steep_and_flat_bins():
    u = np.linspace(-3, 3, 4001, dtype=np.float32)
    raw = [np.full_like(u, part[0]) for part in raw_of(SPLINE.parameters, u.shape, 5.0)]
    forward = jax.jit(SPLINE.forward)
    v, _ = forward(raw, u)
    back, _ = jax.jit(SPLINE.inverse)(raw, v)
    again, _ = forward(raw, back)
    np.testing.assert_allclose(again, v, atol=tolerances.ROUND_TRIP_F32)
    np.testing.assert_array_equal(np.asarray(v)[np.abs(u) > 2], u[np.abs(u) > 2])


def test_gradients_through_a_splines_inverse_are_whole_at_its_knots():
    raw = [np.zeros(5, np.float32)] * SPLINE.parameters  # the identity, with knots at -2, -1, ... 2
    knots = np.arange(-2, 3, dtype=np.float32)
    gradient = jax.jit(jax.grad(lambda v: SPLINE.inverse(raw, v)[0].sum()))(knots)
    np.testing.assert_allclose(gradient, 1, rtol=tolerances.ROUNDING_F32)


@jax.jit
def odds_and_slopes(raw, u):
    def both(raw, u):
        v, log_slope = bj.odds().forward(raw, u)
        return v.sum() + log_slope.sum(), (v, log_slope)

    slopes, values = jax.grad(both, (0, 1), has_aux=True)(raw, u)
    return *values, slopes


@pytest.mark.parametrize("s", [-1000.0, -30.0, -10.0, 30.0, 1000.0])
def test_odds_of_large_parameters_are_finite_and_of_middling_ones_exact(s):
    u = np.array([-0.5, 0.0, 1e-3, 0.5, 0.999, 1.0, 1.5], np.float32)
    v, log_slope, slopes = odds_and_slopes([np.full_like(u, s)], u)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves((v, log_slope, slopes)))
    if abs(s) < 40:
        inside = np.clip(u.astype(float), 0, 1)
        exact = s - 2 * np.log((1 - inside) + inside * np.exp(s))
        np.testing.assert_allclose(log_slope, exact, rtol=tolerances.SUM_F32, atol=tolerances.SUM_F32)


@pytest.mark.parametrize(
    "transformer", [bj.affine(), bj.additive(), bj.odds(), SPLINE], ids=["affine", "additive", "odds", "spline"]
)
def test_log_slopes_of_low_precision_are_float32(transformer):
    u = jax.ShapeDtypeStruct((5,), jnp.bfloat16)
    for direction in (transformer.forward, transformer.inverse):
        moved, log_slope = jax.eval_shape(direction, [u] * transformer.parameters, u)
        assert moved.dtype == jnp.bfloat16 and log_slope.dtype == jnp.float32


def test_a_spline_that_is_given_its_knots():
    """Bins of equal width, heights 1 : 3, slope 1 at the middle: the values at the knots and half-way are known."""
    raw = [np.full(4, value, np.float32) for value in (0, 0, 0, np.log(3), 0)]
    found, _ = jax.jit(bj.rational_quadratic(bins=2, bound=1.0).forward)(raw, np.array([-1, 1, 0, -0.5], np.float32))
    # left bin: slope 1/2 overall, 1 at both ends: symmetric, its middle maps to its middle; no share is below 0.001
    np.testing.assert_allclose(found, [-1, 1, -0.5, -0.75], atol=2 * tolerances.COARSE)


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
