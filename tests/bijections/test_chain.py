"""The constant-memory backward pass of a chain against plain autodiff, both directions, under every transformation."""

import collections

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from tests import tolerances
from tests.bijections.members import drawn


def dense(params, u, channels):
    del channels
    return jnp.tanh(u @ params["kernel"])


def dense_init(key, u, channels):
    return {"kernel": 0.3 * jax.random.normal(key, (u.shape[-1], 2 * channels), u.dtype)}


def bfloat16_dense(params, u, channels):
    return dense(jax.tree.map(lambda p: p.astype(jnp.bfloat16), params), u.astype(jnp.bfloat16), channels)


def deep(blocks, backward, conditioner=dense):
    """ActNorm, then couplings and swaps at both resolutions, as in the model; one logit in the middle of it.

    All pairs of blocks after the first are one scan, since each member that is written out compiles anew.
    """
    coupling = bj.coupling(conditioner, dense_init, clamp=1.0)
    squeezed = [bj.squeeze(), coupling, bj.permutation(range(8)), bj.unsqueeze()]
    pair = [*squeezed, coupling, bj.permutation((1, 0))]
    members = [bj.actnorm(), bj.logit(shrinkage=0.1), *(squeezed if blocks == 1 else pair)]
    if blocks > 2:
        members.append(bj.scan(bj.chain(*pair, backward=backward), blocks // 2 - 1, backward=backward))
    return bj.chain(*members, backward=backward)


def loss_of(bijection):
    def loss(params, x, y):
        forward, log_det = bijection.forward(params, x)
        back, inverse_log_det = bijection.inverse(params, y)
        return jnp.sin(forward).mean() + jnp.cos(back).mean() + 1e-3 * (log_det.mean() + (inverse_log_det**2).mean())

    return loss


def inputs(dtype, batch=2):
    x, y = jax.device_put(list(np.random.default_rng(1).uniform(size=(2, batch, 4, 4, 2)).astype(dtype)))
    return drawn(deep(1, "stored").init, x), x, y


def relative(a, b):
    a, b = (np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(float) for tree in (a, b))
    assert np.linalg.norm(b) > 0
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize(
    "dtype,tolerance", [(jnp.float64, tolerances.REBUILT_F64), (jnp.float32, tolerances.REBUILT_F32)]
)
def test_rebuilt_gradients_are_those_of_autodiff(dtype, tolerance):
    blocks = 16 if dtype == jnp.float64 else 6  # the code that tests compile, unoptimised, rounds ten times as coarsely
    with jax.enable_x64(dtype == jnp.float64):
        _, x, y = inputs(dtype)
        params = drawn(deep(blocks, "stored").init, x)
        stored, rebuilt = (
            jax.jit(jax.value_and_grad(loss_of(deep(blocks, backward)), argnums=(0, 1, 2)))(params, x, y)
            for backward in ("stored", "rebuilt")
        )
        np.testing.assert_allclose(rebuilt[0], stored[0], rtol=tolerance)
        for ours, theirs in zip(rebuilt[1], stored[1], strict=True):  # of params, and of both directions' inputs
            assert relative(ours, theirs) < tolerance


def test_rebuilt_gradients_of_params_in_an_order_of_ones_own():
    x = np.cos(np.arange(12, dtype=np.float32)).reshape(3, 4)
    params = drawn(bj.coupling(dense, dense_init).init, x)
    ordered = [collections.OrderedDict((name, params[name]) for name in ("subnet2", "subnet1"))]

    def gradient(backward):
        flow = bj.chain(bj.coupling(dense, dense_init), backward=backward)
        return jax.jit(jax.grad(lambda params: jnp.sin(flow.forward(params, x)[0]).sum()))(ordered)

    stored, rebuilt = gradient("stored"), gradient("rebuilt")
    assert list(rebuilt[0]) == list(ordered[0])
    for name in ordered[0]:
        assert relative(rebuilt[0][name], stored[0][name]) < tolerances.REBUILT_F32


def test_what_is_kept_does_not_grow_with_depth():
    _, x, _ = inputs(jnp.float32)
    block = [bj.coupling(dense, dense_init), bj.permutation((1, 0))]

    def kept(blocks, backward):
        bijection = bj.chain(bj.actnorm(), bj.logit(shrinkage=0.1), *block * blocks, backward=backward)
        params = jax.eval_shape(bijection.init, jax.random.key(0), x)
        pull = jax.eval_shape(lambda *of: jax.vjp(bijection.forward, *of)[1], params, x)
        return sum(leaf.size for leaf in jax.tree.leaves(pull)) - sum(leaf.size for leaf in jax.tree.leaves(params))

    assert kept(5, "rebuilt") == kept(1, "rebuilt") == x.size
    assert kept(5, "stored") > 2 * kept(1, "stored")


def test_rebuilt_gradients_under_vmap_and_pmap():
    params, x, y = inputs(jnp.float32, batch=4)
    gradient = jax.grad(loss_of(deep(1, "rebuilt")))
    halves = [np.reshape(half, (2, 2, *half.shape[1:])) for half in (x, y)]
    stored = jax.jit(jax.grad(loss_of(deep(1, "stored"))))
    expected = [stored(params, a, b) for a, b in zip(*halves, strict=True)]
    mapped = [
        jax.jit(jax.vmap(gradient, (None, 0, 0)))(params, *halves),
        jax.pmap(gradient, in_axes=(None, 0, 0), devices=jax.devices()[:2])(params, *halves),
    ]
    for of_both in mapped:
        for i, of_one in enumerate(expected):
            own = jax.tree.map(lambda leaf, i=i: np.asarray(leaf)[i], of_both)
            assert relative(own, of_one) < tolerances.REBUILT_F32


def test_rebuilt_gradients_with_bfloat16_conditioners():
    params, x, y = inputs(jnp.float32)
    stored, rebuilt = (
        jax.jit(jax.grad(loss_of(deep(1, backward, bfloat16_dense))))(params, x, y)
        for backward in ("stored", "rebuilt")
    )
    assert relative(rebuilt, stored) < tolerances.BFLOAT16


def test_an_unknown_backward_is_named():
    with pytest.raises(ValueError, match="must be one of stored, rebuilt"):
        bj.chain(backward="recomputed")


def test_a_chain_names_what_does_not_fit():
    with pytest.raises(ValueError, match="2 bijections takes as many params; got 1"):
        bj.chain(bj.squeeze(), bj.haar()).forward([{}], jnp.zeros((1, 4, 4, 1)))

    def forward(params, x):
        return x, jnp.zeros(x.shape)

    careless = bj.Bijection(lambda key, x: {}, forward, forward)
    with pytest.raises(ValueError, match=r"member 1 of a chain gave a log_det of shape \(3, 2\).*\(3,\)"):
        bj.chain(bj.identity(), careless).forward([{}, {}], jnp.zeros((3, 2)))
