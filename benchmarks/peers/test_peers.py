"""What the peers ask of a bijection, asked of ours: `python -m pytest benchmarks/peers`. Needs the extra `peers`.

FlowJAX: every member, behind FlowJAX's own base class, comes back from its inverse, has the log-determinant of its
Jacobian, and gives the same density in FlowJAX's `Transformed`. Distrax: split couplings at every index, of events of
one to three axes, swapped or not, along another axis than the last. FrEIA: a graph that branches, without own helpers.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from fusioninn_jax.models.conditioners import conv_conditioner, dense_conditioner
from tests.bijections.members import TABLE, mlp, prepared

BFLOAT16 = "coupling_bfloat16_conditioner"  # rounds too coarsely for a Jacobian in float64
NAMES = [name for name in TABLE if name != BFLOAT16]


def behind_flowjax(case):
    """A case as a FlowJAX bijection of one example, an example and its condition."""
    flowjax = pytest.importorskip("flowjax.bijections")
    bijection, params, x, condition = prepared(case, jnp.float64)
    after = jax.eval_shape(bijection.forward, params, x, condition)[0].shape[1:]

    class Shim(flowjax.AbstractBijection):
        shape: tuple = x.shape[1:]
        cond_shape: tuple | None = None if condition is None else condition.shape[1:]

        def _of_one(self, method, x, condition):
            condition = None if condition is None else condition[None]
            y, log_det = method(params, x[None], condition)
            return y[0], log_det[0]

        def transform_and_log_det(self, x, condition=None):
            y, log_det = self._of_one(bijection.forward, x, condition)
            return y.reshape(self.shape), log_det  # FlowJAX's bijections keep the shape

        def inverse_and_log_det(self, y, condition=None):
            return self._of_one(bijection.inverse, y.reshape(after), condition)

    return Shim(), x[0], None if condition is None else condition[0]


@pytest.mark.parametrize("name", NAMES)
def test_flowjax_comes_back(name):
    with jax.enable_x64(True):
        shim, x, condition = behind_flowjax(TABLE[name])
        np.testing.assert_allclose(shim.inverse(shim.transform(x, condition), condition), x, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_flowjax_log_determinants(name):
    with jax.enable_x64(True):
        shim, x, condition = behind_flowjax(TABLE[name])
        y, log_det = jax.jit(shim.transform_and_log_det)(x, condition)
        jacobian = jax.jit(jax.jacrev(lambda row: shim.transform(row.reshape(x.shape), condition).ravel()))(x.ravel())
        np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], atol=1e-7)
        np.testing.assert_allclose(jax.jit(shim.inverse_and_log_det)(y, condition)[1], -log_det, atol=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_flowjax_transformed(name):
    with jax.enable_x64(True):
        flowjax = pytest.importorskip("flowjax.bijections")
        distributions = pytest.importorskip("flowjax.distributions")
        shim, x, condition = behind_flowjax(TABLE[name])
        base = distributions.Normal(jnp.zeros(x.shape), jnp.ones(x.shape))
        theirs = distributions.Transformed(base, flowjax.Invert(shim)).log_prob(x, condition)
        bijection, params, rows, conditions = prepared(TABLE[name], jnp.float64)
        np.testing.assert_allclose(bj.flow_log_prob(bijection, params, rows, conditions)[0], theirs, rtol=1e-9)


CASES = [
    (shape, index, swap)
    for shape in ((6,), (3, 4), (2, 2, 5))
    for index in range(1, shape[-1])
    for swap in (False, True)
]


@pytest.mark.parametrize("shape,index,swap", CASES)
def test_distrax_split_couplings(shape, index, swap):
    distrax = pytest.importorskip("distrax")

    def affine(raw):
        return distrax.ScalarAffine(shift=raw[1], log_scale=raw[0])

    def conditioner(u):
        moving = index if swap else shape[-1] - index
        raw = mlp({}, u if u.ndim > len(shape) else u[None], moving)
        raw = raw if u.ndim > len(shape) else raw[0]
        return raw[..., :moving], raw[..., moving:]

    x = jax.random.normal(jax.random.key(0), (3, *shape))
    theirs, log_det = distrax.SplitCoupling(index, len(shape), conditioner, affine, swap=swap).forward_and_log_det(x)
    # theirs moves the second part, ours the first
    y, own = bj.half_coupling(mlp, split=index, swap=not swap, clamp=None).forward({}, x)
    np.testing.assert_allclose(y, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(own, log_det, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("index,swap", list(itertools.product((1, 2, 3), (False, True))))
def test_distrax_splits_along_another_axis(index, swap):
    distrax = pytest.importorskip("distrax")

    def scale(u):
        return 0.1 * jnp.sin(u).sum((-2, -1), keepdims=True)

    def affine(s):
        return distrax.ScalarAffine(shift=s, log_scale=s)

    def theirs_conditioner(u):
        moving = index if swap else 4 - index
        return jnp.broadcast_to(scale(u), (*u.shape[:-2], moving, u.shape[-1]))

    def conditioner(params, u, channels):
        s = jnp.broadcast_to(scale(u), u.shape)  # what moves is seen as zeros, which add nothing
        return jnp.concatenate([s, s], -1)

    x = jax.random.normal(jax.random.key(0), (3, 4, 2))
    theirs, log_det = distrax.SplitCoupling(
        index, 2, theirs_conditioner, affine, swap=swap, split_axis=-2
    ).forward_and_log_det(x)
    first = np.broadcast_to(np.arange(4)[:, None] < index, (4, 2))
    y, own = bj.half_coupling(conditioner, split=first, swap=not swap, clamp=None).forward({}, x)
    np.testing.assert_allclose(y, theirs, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(own, log_det, rtol=1e-5, atol=1e-5)


def test_freias_graph():
    """Downsampling, convolutional couplings, a split, a flattened end with dense couplings and a condition: one chain,
    in place of nodes, splits, concatenations and subnet helpers."""
    conv = conv_conditioner(8, final_relu=False, zero_last=False)
    end = bj.chain(bj.squeeze(), bj.reshape((2, 2, 24), (96,)), bj.coupling(*dense_conditioner(16)))
    flow = bj.chain(bj.haar(), bj.coupling(*conv), bj.convolution1x1(), bj.coupling(*conv), bj.split(end, (4, 4, 12)))
    with jax.enable_x64(True):
        x, label = (jax.random.normal(jax.random.key(seed), shape) for seed, shape in ((0, (2, 8, 8, 3)), (1, (2, 4))))
        params = flow.init(jax.random.key(2), x, label)
        y, log_det = jax.jit(flow.forward)(params, x, label)
        assert y.shape == (2, 8 * 8 * 3)
        np.testing.assert_allclose(jax.jit(flow.inverse)(params, y, label)[0], x, atol=1e-10)
        jacobian = jax.jit(jax.jacfwd(lambda row: flow.forward(params, row.reshape(1, 8, 8, 3), label[:1])[0][0]))
        np.testing.assert_allclose(log_det[0], np.linalg.slogdet(jacobian(x[0].ravel()))[1], atol=1e-8)
