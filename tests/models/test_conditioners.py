"""Conditioners: what shapes and conditions they take, their start, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from fusioninn_jax.models.conditioners import conv_conditioner, dense_conditioner, fitted_condition
from tests import tolerances

KEY = jax.random.key(0)
DENSE, CONV = dense_conditioner(8), conv_conditioner(8, final_relu=False, zero_last=True)


def of(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


X, CONDITION, IMAGE = of(6, 5), of(6, 2), of(2, 4, 4, 2)


def conditional(backward="stored"):
    block = bj.chain(bj.actnorm(), bj.convolution1x1(), bj.coupling(*DENSE), backward=backward)
    return bj.scan(block, 2, backward=backward)


def traced(flow, *made_for, given=None):
    """Shapes of the forward direction, with params for `made_for`."""
    params = jax.eval_shape(flow.init, KEY, *made_for)
    return jax.eval_shape(flow.forward, params, *(made_for if given is None else given))


@pytest.mark.parametrize(
    "flow,made_for,given",
    [
        (conditional(), (X, CONDITION), (X,)),
        (conditional(), (X,), (X, CONDITION)),
        (conditional("rebuilt"), (X, CONDITION), (X, of(6, 3))),
        (bj.coupling(*CONV), (IMAGE, of(2, 4, 4, 1)), (IMAGE,)),
        (bj.coupling(*CONV), (IMAGE,), (of(2, 4, 4, 4),)),
    ],
)
def test_a_net_made_for_another_condition_says_so(flow, made_for, given):
    with pytest.raises(ValueError, match="params are not for .* with (no|a) condition.*: give init what forward"):
        traced(flow, *made_for, given=given)


def test_convolutions_of_vectors_are_refused():
    with pytest.raises(ValueError, match=r"takes images, \(B, H, W, C\); got shape \(6, 3\)"):
        traced(bj.coupling(*CONV), X)


def test_a_condition_of_numbers_is_spread_and_one_of_images_squeezed():
    u = jnp.zeros((2, 4, 3, 1))
    numbers = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(fitted_condition(numbers, u), np.broadcast_to(numbers[:, None, None], (2, 4, 3, 2)))
    image = jnp.arange(2 * 16 * 12.0).reshape(2, 16, 12, 1)
    twice, _ = bj.chain(bj.squeeze(), bj.squeeze()).forward([{}, {}], image)
    np.testing.assert_array_equal(fitted_condition(image, u), twice)


@pytest.mark.parametrize("shape", [(3, 2), (2, 4, 6, 1), (2, 12, 9, 1), (2, 4, 3)])
def test_conditions_that_do_not_fit_are_named(shape):
    with pytest.raises(ValueError, match=r"a condition of images of \(2, 4, 3, 1\)"):
        fitted_condition(jnp.zeros(shape), jnp.zeros((2, 4, 3, 1)))


@pytest.mark.parametrize("shape", [(2, 4), (6, 2, 2)])
def test_numbers_that_do_not_fit_are_named(shape):
    with pytest.raises(ValueError, match=r"takes a condition of \(B, K\), B = 6"):
        traced(bj.coupling(*DENSE), X, of(*shape))


@pytest.mark.parametrize("make", [DENSE, CONV], ids=["dense", "conv"])
def test_a_coupling_starts_as_the_identity(make):
    x = jax.random.normal(KEY, IMAGE.shape)
    flow = bj.coupling(*make)
    y, log_det = flow.forward(flow.init(KEY, x), x)
    np.testing.assert_allclose(y, x, atol=tolerances.ROUNDING_F32)
    np.testing.assert_array_equal(log_det, np.zeros(2))
