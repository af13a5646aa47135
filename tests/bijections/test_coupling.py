"""Couplings: what moves, what stays, what the values are, what conditions do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from tests import tolerances
from tests.bijections.members import CHECKERBOARD, SPLINE, batch, drawn, mlp, spline


def moved_by(bijection, x):
    """Of one without parameters, in one compilation."""
    return np.asarray(jax.jit(lambda x: bijection.forward({}, x)[0])(x))


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
    x = np.asarray(batch(shape))
    y = moved_by(bj.half_coupling(mlp, split=split, swap=swap), x)
    moved = np.zeros(shape[-1], bool)
    moved[moves] = True
    moved ^= swap
    np.testing.assert_array_equal(y[..., ~moved], x[..., ~moved])
    assert (y[..., moved] != x[..., moved]).all()


@pytest.mark.parametrize("swap", [False, True])
def test_a_mask_of_elements_leaves_the_rest_exactly_and_hides_what_moves(swap):
    x, moved = np.asarray(batch((2, *CHECKERBOARD.shape))), CHECKERBOARD ^ swap
    half = bj.half_coupling(mlp, split=CHECKERBOARD, swap=swap)
    y = moved_by(half, x)
    np.testing.assert_array_equal(y[:, ~moved], x[:, ~moved])
    assert (y[:, moved] != x[:, moved]).all()
    jacobian = np.asarray(jax.jit(jax.jacobian(lambda row: half.forward({}, row[None])[0][0]))(x[0]))[moved][:, moved]
    np.testing.assert_array_equal(jacobian[~np.eye(len(jacobian), dtype=bool)], 0)


def test_a_two_sided_coupling_is_two_one_sided_ones():
    x = batch((3, 5))
    first, second = (bj.half_coupling(mlp, split=2, swap=swap) for swap in (False, True))
    half, log_det2 = jax.jit(first.forward)({}, x)
    whole, log_det1 = jax.jit(second.forward)({}, half)
    y, log_det = jax.jit(bj.coupling(mlp, split=2).forward)({"subnet1": {}, "subnet2": {}}, x)
    np.testing.assert_array_equal(y, whole)
    np.testing.assert_allclose(log_det, log_det1 + log_det2, rtol=tolerances.ROUNDING_F32)


def test_a_conditioner_for_another_transformer_is_named():
    with pytest.raises(ValueError, match="11 parameters"):
        bj.coupling(mlp, transformer=SPLINE).forward({"subnet1": {}, "subnet2": {}}, batch((2, 4)))
    with pytest.raises(ValueError, match="2 parameters"):
        bj.coupling(spline).forward({"subnet1": {}, "subnet2": {}}, batch((2, 4)))


def test_a_condition_changes_the_result_and_its_gradient_is_that_of_differences():
    with jax.enable_x64(True):
        x, condition = batch((3, 4), jnp.float64), np.asarray(batch((3, 2), jnp.float64))
        for backward in ("stored", "rebuilt"):
            flow = bj.chain(bj.coupling(mlp), bj.permutation((2, 0, 3, 1)), bj.coupling(mlp), backward=backward)
            params = drawn(flow.init, x, condition)

            @jax.jit
            def value(condition, flow=flow, params=params):
                y, log_det = flow.forward(params, x, condition)
                back, _ = flow.inverse(params, x, condition)
                return jnp.sin(y).sum() + (log_det**2).sum() + jnp.cos(back).sum()

            gradient, step = jax.jit(jax.grad(value))(condition), 1e-6
            bump = np.zeros_like(condition)
            bump[1, 0] = step
            slope = (value(condition + bump) - value(condition - bump)) / (2 * step)
            assert abs(slope) > 1e-3
            np.testing.assert_allclose(np.asarray(gradient)[1, 0], slope, rtol=tolerances.DIFFERENCES_F64)


def test_a_condition_of_labels_under_rebuilt():
    def by_label(params, u, channels, condition):
        return mlp({}, u, channels) * params[condition["label"]][:, None]

    def by_label_init(key, u, channels, condition):
        return jnp.array([0.3, 0.7])

    x, condition = batch((4, 4)), {"label": np.array([0, 1, 1, 0])}
    found = []
    for backward in ("stored", "rebuilt"):
        flow = bj.scan(bj.coupling(by_label, by_label_init), 2, backward=backward)
        params = jax.jit(flow.init)(jax.random.key(0), x, condition)

        def value(params, flow=flow):
            return jnp.sin(flow.forward(params, x, condition)[0]).sum()

        found.append(jax.jit(jax.grad(value))(params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerances.LONG_F32), *found)


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
    np.testing.assert_allclose(y, jnp.concatenate([v1, v2], -1), rtol=tolerances.ROUNDING_F32)
    np.testing.assert_allclose(
        log_det, (clamped(-0.7 * u2) + clamped(0.3 * v1)).sum((1, 2, 3)), rtol=tolerances.SUM_F32
    )


def test_a_conditioner_of_one_half_leaves_the_other_exactly():
    """Where the first conditioner is inert, only the second half moves."""

    def second_only(params, half, channels):
        return params * jnp.ones((*half.shape[:-1], 2 * channels))

    x = batch((2, 4, 4, 2))
    y, _ = bj.coupling_forward({"subnet1": 0.5, "subnet2": 0.0}, x, second_only)
    np.testing.assert_array_equal(y[..., :1], x[..., :1])
    assert (y[..., 1:] != x[..., 1:]).all()


@pytest.mark.parametrize(
    "conditioner,shape,match", [(mlp, (2, 1), "at least 2 channels"), (lambda p, u, c: u, (2, 4), "conditioner")]
)
def test_too_few_channels_and_a_conditioner_of_another_shape_are_named(conditioner, shape, match):
    with pytest.raises(ValueError, match=match):
        bj.coupling_forward({"subnet1": 0, "subnet2": 0}, jnp.zeros(shape), conditioner)
