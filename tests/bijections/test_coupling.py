"""Splits and transformers: what moves, what stays, what the values are, what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from fusioninn_jax.bijections.parts import parts_of
from tests import tolerances
from tests.bijections.members import CHECKERBOARD, SPLINE, batch, mlp, spline


@pytest.mark.parametrize(
    "split,shape,moves",
    [
        (None, (2, 5), [0, 1]),
        (1, (2, 5), [0]),
        (0.6, (2, 5), [0, 1, 2]),
        ((3, 1), (2, 5), [1, 3]),
        ([2], (2, 5), [2]),
        (np.array([False, True, False, True, True]), (2, 3, 5), [1, 3, 4]),
    ],
)
@pytest.mark.parametrize("swap", [False, True])
def test_a_one_sided_coupling_leaves_the_rest_exactly(split, shape, moves, swap):
    x = batch(shape)
    y, _ = bj.half_coupling(mlp, split=split, swap=swap).forward({}, x)
    moved = np.zeros(shape[-1], bool)
    moved[moves] = True
    moved ^= swap
    np.testing.assert_array_equal(y[..., ~moved], x[..., ~moved])
    assert (y[..., moved] != x[..., moved]).all()


@pytest.mark.parametrize("swap", [False, True])
def test_a_mask_of_elements_leaves_the_rest_exactly_and_hides_what_moves(swap):
    x, moved = batch((2, *CHECKERBOARD.shape)), CHECKERBOARD ^ swap
    half = bj.half_coupling(mlp, split=CHECKERBOARD, swap=swap)
    y, _ = half.forward({}, x)
    np.testing.assert_array_equal(y[:, ~moved], x[:, ~moved])
    assert (y[:, moved] != x[:, moved]).all()
    jacobian = jax.jacobian(lambda row: half.forward({}, row[None])[0][0])(x[0])[moved][:, moved]
    np.testing.assert_array_equal(jacobian[~np.eye(len(jacobian), dtype=bool)], 0)


def test_a_two_sided_coupling_is_two_one_sided_ones():
    x = batch((3, 5))
    first, second = (bj.half_coupling(mlp, split=2, swap=swap) for swap in (False, True))
    half, log_det2 = first.forward({}, x)
    whole, log_det1 = second.forward({}, half)
    y, log_det = bj.coupling(mlp, split=2).forward({"subnet1": {}, "subnet2": {}}, x)
    np.testing.assert_array_equal(y, whole)
    np.testing.assert_allclose(log_det, log_det1 + log_det2, rtol=1e-6)


@pytest.mark.parametrize(
    "split,match",
    [
        (0, "empty"),
        (4, "empty"),
        (9, "empty"),
        (0.0, "empty"),
        (1.0, "empty"),
        ((4,), "below 4"),
        ((-1,), "below 4"),
        ([True] * 4, "empty"),
        ([True, False], r"\(4,\)"),
        (np.ones((2, 2), bool), r"\(3, 4\)"),
        ((0.5, 0.5), "below 4"),
    ],
)
def test_splits_that_do_not_fit_are_named(split, match):
    with pytest.raises(ValueError, match=match):
        parts_of(split, (2, 3, 4))


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
        np.testing.assert_allclose(log_slope, np.log(exact), atol=1e-9)
        back, inverse_log_slope = transformer.inverse(same, v)
        np.testing.assert_allclose(back, u, atol=1e-9)
        np.testing.assert_allclose(inverse_log_slope, -log_slope, atol=1e-8)


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


def test_a_conditioner_for_another_transformer_is_named():
    with pytest.raises(ValueError, match="11 parameters"):
        bj.coupling(mlp, transformer=SPLINE).forward({"subnet1": {}, "subnet2": {}}, batch((2, 4)))
    with pytest.raises(ValueError, match="2 parameters"):
        bj.coupling(spline).forward({"subnet1": {}, "subnet2": {}}, batch((2, 4)))


def test_a_condition_changes_the_result_and_its_gradient_is_that_of_differences():
    with jax.enable_x64(True):
        x, condition = batch((3, 4), jnp.float64), batch((3, 2), jnp.float64)
        for backward in ("stored", "rebuilt"):
            flow = bj.chain(bj.coupling(mlp), bj.permutation((2, 0, 3, 1)), bj.coupling(mlp), backward=backward)
            params = flow.init(jax.random.key(0), x, condition)

            def value(condition, flow=flow, params=params):
                y, log_det = flow.forward(params, x, condition)
                back, _ = flow.inverse(params, x, condition)
                return jnp.sin(y).sum() + (log_det**2).sum() + jnp.cos(back).sum()

            gradient, step = jax.grad(value)(condition), 1e-6
            bump = jnp.zeros_like(condition).at[1, 0].set(step)
            slope = (value(condition + bump) - value(condition - bump)) / (2 * step)
            assert abs(slope) > 1e-3
            np.testing.assert_allclose(gradient[1, 0], slope, rtol=1e-6)


def test_a_condition_of_labels_under_rebuilt():
    def by_label(params, u, channels, condition):
        return mlp({}, u, channels) * params[condition["label"]][:, None]

    def by_label_init(key, u, channels, condition):
        return jnp.array([0.3, 0.7])

    x, condition = batch((4, 4)), {"label": jnp.array([0, 1, 1, 0])}
    found = []
    for backward in ("stored", "rebuilt"):
        flow = bj.scan(bj.coupling(by_label, by_label_init), 2, backward=backward)
        params = flow.init(jax.random.key(0), x, condition)

        def value(params, flow=flow):
            return jnp.sin(flow.forward(params, x, condition)[0]).sum()

        found.append(jax.grad(value)(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4), *found)
