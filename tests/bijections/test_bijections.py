"""Every bijection from one table: round trip, log-det, inverse log-det, jit, vmap, precisions, what stays untouched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from fusioninn_jax.bijections.transformers import _atan
from tests import tolerances
from tests.bijections.members import TABLE, batch, dense, dense_init, mlp, prepared

BFLOAT16 = TABLE["coupling_bfloat16_conditioner"]  # rounds anew in every compilation


@pytest.fixture(params=TABLE, name="case")
def case_fixture(request):
    return TABLE[request.param]


@pytest.mark.parametrize(
    "dtype,tolerance", [(jnp.float32, tolerances.ROUND_TRIP_F32), (jnp.float64, tolerances.ROUND_TRIP_F64)]
)
def test_round_trip(case, dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        bijection, params, x, condition = prepared(case, dtype)

        @jax.jit
        def there_and_back(params, x, condition):
            y, log_det = bijection.forward(params, x, condition)
            return y, log_det, *bijection.inverse(params, jax.lax.optimization_barrier(y), condition)

        y, log_det, back, inverse_log_det = there_and_back(params, x, condition)
        assert y.dtype == back.dtype == log_det.dtype == dtype
        assert log_det.shape == x.shape[:1] and y.size == x.size
        np.testing.assert_allclose(back, x, atol=tolerance)
        np.testing.assert_allclose(inverse_log_det, -log_det, atol=tolerance * 100)


def test_log_det_is_that_of_the_jacobian(case):
    with jax.enable_x64(True):
        bijection, params, x, condition = prepared(case, jnp.float64)
        one = None if condition is None else condition[:1]

        @jax.jit
        def both(row):
            def flat(row):
                return bijection.forward(params, row.reshape(1, *x.shape[1:]), one)[0].ravel()

            return (jax.jacrev if case.rebuilt else jax.jacfwd)(flat)(row.ravel()), bijection.forward(
                params, row[None], one
            )[1][0]

        for row in x[:2]:
            jacobian, log_det = both(row)
            tolerance = tolerances.BFLOAT16 if case is BFLOAT16 else tolerances.GOLDEN_F64
            np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=tolerance, atol=tolerance)


def test_actnorm_starts_with_zero_mean_and_unit_unbiased_deviation():
    with jax.enable_x64(True):
        x = 3 + 5 * batch((4, 5, 6, 2), jnp.float64)
        y, _ = bj.actnorm_forward(bj.actnorm_init(x), x)
        np.testing.assert_allclose(y.mean((0, 1, 2)), 0, atol=tolerances.ROUND_TRIP_F64)
        np.testing.assert_allclose(y.std((0, 1, 2), ddof=1), 1, atol=tolerances.ROUND_TRIP_F64)


def test_actnorm_of_a_constant_channel_is_finite():
    params = bj.actnorm_init(jnp.full((2, 4, 4, 2), 0.25))
    assert np.isfinite(params["scale"]).all()
    np.testing.assert_allclose(bj.actnorm_forward(params, jnp.full((2, 4, 4, 2), 0.25))[0], 0)


@pytest.mark.parametrize("value", [0.1, 0.3, 100.1])
def test_actnorm_of_a_constant_that_rounds_keeps_scale_zero(value):
    x = jnp.full((1000, 1), value)
    for init in (bj.actnorm().init, bj.actnorm().inverted().init):
        assert init(jax.random.key(0), x)["scale"] == 0


def test_coupling_is_the_equation_of_the_paper():
    u = batch((2, 3, 3, 2))

    def conditioner(params, half, channels):
        return jnp.concatenate([params * half, half**2], -1)

    y, log_det = bj.coupling_forward({"subnet1": 0.3, "subnet2": -0.7}, u, conditioner)

    def clamped(s):
        return 2 * 0.636 * np.arctan(s)

    u1, u2 = u[..., :1], u[..., 1:]
    v1 = u1 * np.exp(clamped(-0.7 * u2)) + u2**2
    v2 = u2 * np.exp(clamped(0.3 * v1)) + v1**2
    np.testing.assert_allclose(y, jnp.concatenate([v1, v2], -1), rtol=1e-6)
    np.testing.assert_allclose(log_det, (clamped(-0.7 * u2) + clamped(0.3 * v1)).sum((1, 2, 3)), rtol=1e-5)


def test_a_conditioner_of_one_half_leaves_the_other_exactly():
    """Where the first conditioner is inert, only the second half moves."""

    def second_only(params, half, channels):
        return params * jnp.ones((*half.shape[:-1], 2 * channels))

    x = batch((2, 4, 4, 2))
    y, _ = bj.coupling_forward({"subnet1": 0.5, "subnet2": 0.0}, x, second_only)
    np.testing.assert_array_equal(y[..., :1], x[..., :1])
    assert (y[..., 1:] != x[..., 1:]).all()


def test_squeeze_orders_the_pixels_of_each_channel_in_turn():
    x = jnp.array([[[[0, 10], [1, 11]], [[2, 12], [3, 13]]]], jnp.float32)
    np.testing.assert_array_equal(bj.squeeze_forward(x)[0].ravel(), [0, 1, 2, 3, 10, 11, 12, 13])


def test_permutation_moves_channel_perm_i_to_i():
    y, _ = bj.permutation_forward((2, 0, 1), jnp.array([[10.0, 11.0, 12.0]]))
    np.testing.assert_array_equal(y, [[12, 10, 11]])


def test_logit_is_the_formula_inside_and_smooth_and_monotone_beyond():
    with jax.enable_x64(True):
        x = jnp.linspace(-0.5, 1.5, 4001)[None]
        y, _ = bj.logit_forward(x, shrinkage=0.01)
        inside = (x >= 0) & (x <= 1)
        p = 0.01 + 0.98 * x[inside]
        np.testing.assert_allclose(y[inside], np.log(p / (1 - p)), atol=1e-9)
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
    np.testing.assert_allclose(bj.logit_forward(x, shrinkage=0.01)[0], y, atol=1e-4)


@pytest.mark.parametrize(
    "call,match",
    [
        (lambda: bj.squeeze_forward(jnp.zeros((1, 5, 4, 2))), "even height and width; got 5x4"),
        (lambda: bj.squeeze_forward(jnp.zeros((1, 4))), r"\(B, H, W, C\)"),
        (lambda: bj.squeeze_inverse(jnp.zeros((1, 2, 2, 6))), "4C"),
        (lambda: bj.coupling_forward({"subnet1": 0, "subnet2": 0}, jnp.zeros((2, 1)), mlp), "at least 2 channels"),
        (
            lambda: bj.coupling_forward({"subnet1": 0, "subnet2": 0}, jnp.zeros((2, 4)), lambda p, u, c: u),
            "conditioner",
        ),
        (lambda: bj.permutation_forward((0, 0), jnp.zeros((1, 2))), "not a permutation"),
        (lambda: bj.permutation_forward((0, 1, 2), jnp.zeros((1, 2))), "not a permutation"),
        (lambda: bj.logit(shrinkage=0.5), "shrinkage"),
        (lambda: bj.split(bj.actnorm(), (4,)).init(jax.random.key(0), jnp.zeros((2, 6))), r"split takes \(B, 4\)"),
    ],
)
def test_bad_input_is_named(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_haar_gives_the_mean_and_the_details_of_each_cell():
    cell = jnp.array([[1.0, 2.0], [3.0, 8.0]]).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(bj.haar_forward(cell)[0].ravel(), [7, -3, -4, 2])
    with pytest.raises(ValueError, match="even height and width"):
        bj.haar_forward(jnp.zeros((1, 3, 2, 1)))
    with pytest.raises(ValueError, match="4C"):
        bj.haar_inverse(jnp.zeros((1, 3, 2, 6)))


def test_the_arc_tangent_of_the_clamp():
    x = np.concatenate([np.linspace(-3, 3, 4001), np.logspace(-30, 38, 200), [-0.0, -1.0, np.inf, -np.inf]])
    x = x.astype(np.float32)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(_atan)))(x)
    exact = x.astype(float)
    np.testing.assert_allclose(value, np.arctan(exact), rtol=tolerances.ATAN_F32)
    np.testing.assert_allclose(slope, 1 / (1 + exact**2), rtol=tolerances.ATAN_F32, atol=np.finfo(np.float32).tiny)
    assert np.isnan(_atan(jnp.float32(jnp.nan)))


@pytest.mark.parametrize("channels", [784, 3072])
def test_a_wide_permutation_is_a_gather_and_so_is_its_gradient(channels):
    order = np.random.default_rng(0).permutation(channels)

    def loss(x):
        return jnp.sin(bj.permutation_forward(order, x)[0]).sum()

    text = jax.jit(jax.grad(loss)).lower(jnp.zeros((2, channels))).as_text()
    assert "gather" in text and "scatter" not in text and text.count("\n") < 200


def test_a_chain_names_what_does_not_fit():
    with pytest.raises(ValueError, match="2 bijections takes as many params; got 1"):
        bj.chain(bj.squeeze(), bj.haar()).forward([{}], jnp.zeros((1, 4, 4, 1)))

    def forward(params, x):
        return x, jnp.zeros(x.shape)

    careless = bj.Bijection(lambda key, x: {}, forward, forward)
    with pytest.raises(ValueError, match=r"member 1 of a chain gave a log_det of shape \(3, 2\).*\(3,\)"):
        bj.chain(bj.identity(), careless).forward([{}, {}], jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"actnorm takes \(B, ..., 3\); got shape \(4, 1\)"):
        bj.actnorm_forward({"scale": jnp.zeros(3), "bias": jnp.zeros(3)}, jnp.zeros((4, 1)))
    with pytest.raises(ValueError, match="keeps shape"):
        bj.scan(bj.squeeze(), 2).forward({}, jnp.zeros((1, 4, 4, 1)))
    with pytest.raises(ValueError, match="at least once"):
        bj.scan(bj.identity(), 0)
    with pytest.raises(ValueError, match="cannot make"):
        bj.reshape((2, 3), (5,))


@pytest.mark.parametrize("backward", ["stored", "rebuilt"])
def test_members_that_know_no_condition_may_stand_where_there_is_none(backward):
    def forward(params, x):
        return x * 2, jnp.full(len(x), x[0].size * jnp.log(2.0))

    def inverse(params, y):
        return y / 2, jnp.full(len(y), -y[0].size * jnp.log(2.0))

    plain = bj.Bijection(lambda key, x: {}, forward, inverse)
    flow, x = bj.chain(bj.actnorm(), plain, backward=backward), batch((5, 3))
    params = flow.init(jax.random.key(0), x)
    gradient = jax.grad(lambda x: flow.forward(params, x)[0].sum())(x)
    np.testing.assert_allclose(gradient, jnp.broadcast_to(2 * jnp.exp(params[0]["scale"]), x.shape), rtol=1e-5)


def test_an_inverted_actnorm_normalises_where_it_stands():
    x = 3 + 5 * batch((50, 2))
    flow = bj.chain(bj.actnorm().inverted())
    y, _ = flow.forward(flow.init(jax.random.key(0), x), x)
    np.testing.assert_allclose(y.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y.std(0, ddof=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    "flow",
    [
        bj.on_channels(bj.actnorm(), (3, 0)),
        bj.split(bj.chain(bj.actnorm(), bj.reshape((2,), (1, 2))), (4,), split=(0, 3)),
    ],
    ids=["on_channels", "split"],
)
def test_an_inverted_actnorm_within_another_normalises_too(flow):
    y = 3 * jax.random.normal(jax.random.key(0), (50, 4)) + 1
    x, _ = flow.inverse(flow.inverted().init(jax.random.key(1), y), y)
    np.testing.assert_allclose(x[:, np.array([0, 3])].std(0, ddof=1), 1, rtol=tolerances.SUM_F32)


def test_scan_compiles_the_same_at_any_depth():
    block = bj.chain(bj.actnorm(), bj.coupling(dense, dense_init))
    x = batch((3, 4))

    def equations(count, backward):
        flow = bj.scan(block, count, backward=backward)
        params = jax.eval_shape(flow.init, jax.random.key(0), x)
        return str(jax.make_jaxpr(jax.grad(lambda p: flow.forward(p, x)[0].sum()))(params)).count(" = ")

    for backward in ("stored", "rebuilt"):
        assert equations(2, backward) == equations(40, backward)


def test_what_scan_keeps_does_not_grow_with_depth():
    block, x = bj.chain(bj.actnorm(), bj.coupling(dense, dense_init)), batch((64, 8))

    def kept(count, backward):
        flow = bj.scan(block, count, backward=backward)
        params = flow.init(jax.random.key(0), x)
        _, pull = jax.vjp(flow.forward, params, x)
        return sum(leaf.size for leaf in jax.tree.leaves(pull)) - sum(leaf.size for leaf in jax.tree.leaves(params))

    assert kept(9, "rebuilt") == kept(1, "rebuilt") == x.size
    assert kept(9, "stored") > 5 * kept(1, "stored")
