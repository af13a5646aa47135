"""A repeated block costs the same at any depth, in compilation and under `rebuilt` in memory."""

import jax
import jax.numpy as jnp
import pytest

from fusioninn_jax import bijections as bj
from tests.bijections.members import batch, dense, dense_init


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
        params = jax.eval_shape(flow.init, jax.random.key(0), x)
        pull = jax.eval_shape(lambda *of: jax.vjp(flow.forward, *of)[1], params, x)
        return sum(leaf.size for leaf in jax.tree.leaves(pull)) - sum(leaf.size for leaf in jax.tree.leaves(params))

    assert kept(9, "rebuilt") == kept(1, "rebuilt") == x.size
    assert kept(9, "stored") > 5 * kept(1, "stored")


def test_blocks_and_counts_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="keeps shape"):
        bj.scan(bj.squeeze(), 2).forward({}, jnp.zeros((1, 4, 4, 1)))
    with pytest.raises(ValueError, match="at least once"):
        bj.scan(bj.identity(), 0)
