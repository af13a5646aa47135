"""Every bijection, once, with the shape of a batch that it takes; the tests run over this table."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import bijections as bj
from fusioninn_jax.models.conditioners import conv_conditioner, dense_conditioner
from tests.chosen import chosen

CONV = conv_conditioner(5, final_relu=False, zero_last=False)
SPLINE = bj.rational_quadratic(bins=4, bound=2.0)
CHECKERBOARD = np.indices((4, 2, 3)).sum(0) % 2 == 0
SCRAMBLED = np.random.default_rng(0).permutation(150)  # more runs than are joined


def mlp(params, u, channels, condition=None, parameters=2):
    """A conditioner for arrays of any rank: a fixed map of the last axis, no parameters."""
    del params
    if condition is not None:
        shape = (*u.shape[:-1], condition.shape[-1])
        condition = condition.reshape(u.shape[0], *[1] * (u.ndim - 2), condition.shape[-1]).astype(u.dtype)
        u = jnp.concatenate([u, jnp.broadcast_to(condition, shape)], -1)
    size = (u.shape[-1], parameters * channels)
    weights = jnp.asarray(3 * np.sin(1 + 7 * np.arange(np.prod(size))).reshape(size), u.dtype)  # compiles fast
    return jnp.tanh(u @ weights)


def shift(params, u, channels, condition=None):
    return mlp(params, u, channels, condition, 1)


def spline(params, u, channels, condition=None):
    return mlp(params, u, channels, condition, SPLINE.parameters)


def dense(params, u, channels, condition=None):
    """One with parameters."""
    scale = params["scale"].astype(u.dtype).reshape((1,) * (u.ndim - 1) + (-1,))
    return jnp.tanh(mlp({}, u, channels, condition) * scale)


def dense_init(key, u, channels, condition=None):
    return {"scale": jax.random.normal(key, (2 * channels,), jnp.float64 if u.dtype == jnp.float64 else jnp.float32)}


def bfloat16_mlp(params, u, channels):
    return mlp(params, u.astype(jnp.bfloat16), channels)


class Case(NamedTuple):
    """A bijection, the shape of a batch, and of a condition where it takes one."""

    bijection: bj.Bijection
    shape: tuple[int, ...]
    condition: tuple[int, ...] | None = None
    rebuilt: bool = False


def block():
    return bj.chain(bj.actnorm(), bj.convolution1x1(), bj.coupling(dense, dense_init))


def flow(backward):
    """What a user would build for images."""
    return bj.chain(
        bj.actnorm(),
        bj.coupling(dense, dense_init),
        bj.permutation((1, 0)),
        bj.squeeze(),
        bj.scan(block(), 2, backward=backward),
        bj.unsqueeze(),
        backward=backward,
    )


TABLE: dict[str, Case] = {
    "actnorm": Case(bj.actnorm(), (3, 4, 6, 2)),
    "actnorm_vectors": Case(bj.actnorm(), (7, 3)),
    "actnorm_inverted": Case(bj.actnorm().inverted(), (7, 3)),
    "coupling_conv": Case(bj.coupling(*CONV), (2, 4, 6, 2)),
    "coupling_odd_channels": Case(bj.coupling(mlp), (2, 4, 2, 5)),
    "coupling_vectors": Case(bj.coupling(mlp), (4, 6)),
    "coupling_volume": Case(bj.coupling(mlp), (2, 2, 2, 2, 2)),
    "coupling_unclamped": Case(bj.coupling(mlp, clamp=None), (3, 4)),
    "coupling_bfloat16_conditioner": Case(bj.coupling(bfloat16_mlp), (3, 4, 4, 2)),
    "coupling_fraction": Case(bj.coupling(mlp, split=0.25), (3, 8)),
    "coupling_channels": Case(bj.coupling(mlp, split=(4, 1)), (3, 2, 5)),
    "coupling_mask": Case(bj.coupling(dense, dense_init, split=[True, False, True]), (3, 3)),
    "coupling_checkerboard": Case(bj.coupling(mlp, split=CHECKERBOARD), (2, 4, 2, 3)),
    "coupling_additive": Case(bj.coupling(shift, transformer=bj.additive()), (3, 4)),
    "coupling_odds": Case(bj.coupling(shift, transformer=bj.odds(0.2, 0.8)), (3, 4)),  # some values lie beyond
    "coupling_spline": Case(bj.coupling(spline, transformer=SPLINE), (3, 5)),
    "coupling_conditional": Case(bj.coupling(dense, dense_init), (3, 2, 2, 4), (3, 2)),
    "coupling_conv_conditional": Case(bj.coupling(*CONV), (2, 4, 6, 2), (2, 8, 12, 1)),
    "coupling_dense_conditional": Case(bj.coupling(*dense_conditioner(4)), (3, 2, 4), (3, 2)),
    "half_coupling": Case(bj.half_coupling(dense, dense_init, split=1), (3, 4)),
    "half_coupling_swapped": Case(bj.half_coupling(mlp, split=3, swap=True), (3, 4)),
    "permutation": Case(bj.permutation((2, 0, 1)), (2, 4, 2, 3)),
    "permutation_wide": Case(bj.permutation(SCRAMBLED), (2, 150)),
    "squeeze": Case(bj.squeeze(), (2, 4, 6, 2)),
    "unsqueeze": Case(bj.unsqueeze(), (2, 2, 3, 8)),
    "squeeze_inverted": Case(bj.squeeze().inverted(), (2, 2, 3, 8)),
    "haar": Case(bj.haar(), (2, 4, 6, 2)),
    "unhaar": Case(bj.unhaar(), (2, 2, 3, 8)),
    "logit": Case(bj.logit(shrinkage=0.01), (2, 4, 2, 2)),
    "logit_tails": Case(bj.chain(bj.actnorm(), bj.logit(shrinkage=0.2)), (2, 4, 2, 2)),
    "mean_difference": Case(bj.mean_difference(), (2, 3, 2, 2)),
    "mean_difference_of_five": Case(bj.mean_difference(position=2), (3, 5)),
    "on_channels": Case(bj.on_channels(bj.coupling(dense, dense_init), (4, 0, 1)), (2, 3, 5)),
    "on_channels_pyramid": Case(
        bj.on_channels(bj.chain(bj.haar(), bj.coupling(*CONV), bj.unhaar()), (0, 2)), (2, 4, 6, 3)
    ),
    "on_channels_conditional": Case(bj.on_channels(bj.coupling(dense, dense_init), (2, 0)), (2, 3), (2, 2)),
    "rescale": Case(bj.rescale(-4.0, 0.5), (2, 3, 2)),
    "convolution1x1": Case(bj.convolution1x1(), (2, 3, 2, 4)),
    "orthogonal": Case(bj.orthogonal(), (2, 3, 4)),
    "identity": Case(bj.identity(), (2, 3)),
    "reshape": Case(bj.reshape((2, 6), (3, 4)), (2, 2, 6)),
    "split": Case(bj.split(bj.chain(bj.actnorm(), bj.squeeze()), (4, 2, 3)), (2, 4, 2, 3)),
    "multi_scale": Case(
        bj.chain(
            bj.squeeze(),
            bj.split(
                bj.chain(bj.coupling(mlp), bj.squeeze(), bj.split(bj.orthogonal(), (1, 1, 8), split=3)), (2, 2, 4)
            ),
        ),
        (2, 4, 4, 1),
    ),
    "scan": Case(bj.scan(block(), 3), (3, 4)),
    "scan_rebuilt": Case(bj.scan(block(), 3, backward="rebuilt"), (3, 4), (3, 2), rebuilt=True),
    "scan_without_params": Case(bj.scan(bj.permutation((1, 2, 0)), 2, backward="rebuilt"), (2, 3), rebuilt=True),
    "scan_inverted": Case(bj.scan(block(), 2).inverted(), (3, 4)),
    "chain": Case(flow("stored"), (2, 4, 4, 2)),
    "chain_conditional": Case(flow("stored"), (2, 4, 4, 2), (2, 3)),
    "chain_rebuilt": Case(flow("rebuilt"), (2, 4, 4, 2), (2, 3), rebuilt=True),
    "chain_inverted": Case(flow("stored").inverted(), (2, 4, 4, 2)),
    "empty_chain": Case(bj.chain(), (2, 3)),
}


REPRESENTATIVE = chosen(
    TABLE,
    (
        "actnorm",
        "coupling_conv",
        "coupling_mask",
        "coupling_checkerboard",
        "coupling_spline",
        "coupling_conv_conditional",
        "permutation_wide",
        "logit_tails",
        "mean_difference_of_five",
        "convolution1x1",
        "orthogonal",
        "reshape",
        "multi_scale",
        "scan_rebuilt",
        "chain_conditional",
        "chain_rebuilt",
    ),
)


def batch(shape, dtype=jnp.float32):
    values = np.random.default_rng(1).uniform(0.05, 0.95, shape).astype(np.float32)
    return jax.device_put(values.astype(dtype))  # where jnp.asarray compiles a program for each shape


def condition_of(case, dtype=jnp.float32):
    return None if case.condition is None else jax.device_put(np.cos(batch(case.condition)).astype(dtype))


def drawn(init, *arrays):
    """Params of the shapes and types that `init` makes, off any special start, drawn by NumPy: it compiles nothing."""
    generator = np.random.default_rng(2)

    def leaf(like):
        spread = 0.5 / np.prod(like.shape[:-1]) ** 0.5
        return jax.device_put((spread * generator.standard_normal(like.shape)).astype(like.dtype))

    return jax.tree.map(leaf, jax.eval_shape(init, jax.random.key(0), *arrays))


@functools.cache  # many tests take the same
def prepared(case, dtype=jnp.float32) -> tuple[bj.Bijection, Any, jax.Array, Any]:
    """The bijection, params, a batch and a condition."""
    x, condition = batch(case.shape, dtype), condition_of(case, dtype)
    return case.bijection, drawn(case.bijection.init, x, condition), x, condition
