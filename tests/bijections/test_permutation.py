"""Permutations by runs of neighbours and by a gather: the order asked for, its inverse, its derivatives."""

import importlib
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj

module = importlib.import_module("fusioninn_jax.bijections.permutation")  # the package has a function of that name
ORDERS = [
    *itertools.permutations(range(4)),
    (0,),
    tuple(range(16))[::-1],  # one run, downwards
    (3, 4, 5, 0, 1, 2),
    (2, 1, 0, 3, 4, 5),
    (4, 0, 3, 1, 5, 2, 7, 6),  # more runs than are sliced
]


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_the_order_its_inverse_and_its_derivatives(order):
    flow, x = bj.permutation(order), np.random.default_rng(0).standard_normal((3, 2, len(order))).astype(np.float32)
    y, log_det = flow.forward({}, x)
    np.testing.assert_array_equal(y, x[..., list(order)])
    np.testing.assert_array_equal(log_det, np.zeros(3))
    np.testing.assert_array_equal(flow.inverse({}, y)[0], x)
    _, pull = jax.vjp(lambda x: flow.forward({}, x)[0], x)
    np.testing.assert_array_equal(pull(jnp.asarray(x))[0], x[..., np.argsort(order)])
    _, pushed = jax.jvp(lambda x: flow.forward({}, x)[0], (x,), (2 * x,))
    np.testing.assert_array_equal(pushed, 2 * x[..., list(order)])


def test_orders_are_cut_into_as_few_runs_as_they_have():
    def runs(order):
        return [run.tolist() for run in module._runs(np.array(order))]

    assert runs(range(5)) == [[0, 1, 2, 3, 4]] and runs((4, 3, 2, 1, 0)) == [[4, 3, 2, 1, 0]]
    assert runs((2, 3, 1, 0)) == [[2, 3], [1, 0]] and runs((0, 2, 1)) == [[0], [2, 1]]


def test_permutation_moves_channel_perm_i_to_i():
    y, _ = bj.permutation_forward((2, 0, 1), jnp.array([[10.0, 11.0, 12.0]]))
    np.testing.assert_array_equal(y, [[12, 10, 11]])


@pytest.mark.parametrize("channels", [784, 3072])
def test_a_wide_permutation_is_a_gather_and_so_is_its_gradient(channels):
    order = np.random.default_rng(0).permutation(channels)

    def loss(x):
        return jnp.sin(bj.permutation_forward(order, x)[0]).sum()

    text = jax.jit(jax.grad(loss)).lower(jnp.zeros((2, channels))).as_text()
    assert "gather" in text and "scatter" not in text and text.count("\n") < 200


@pytest.mark.parametrize("order", [(0, 0), (0, 1, 2)])
def test_what_is_no_permutation_is_named(order):
    with pytest.raises(ValueError, match="not a permutation"):
        bj.permutation_forward(order, jnp.zeros((1, 2)))
