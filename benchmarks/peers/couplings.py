"""The same sixteen affine couplings with the same weights, in this package, Distrax and FrEIA; of vectors in FlowJAX.

A conditioner is conv3x3 (2 -> 32), ReLU, conv3x3 (32 -> 4), on the halves of (B, H, W, 4) in turn; |s| < 2 by an arc
tangent, as in FrEIA. Each side gives `forward`, `inverse` and `gradient` as calls on arrays, that of the mean of
y²/2 minus the log-determinant by the weights. Of vectors, (B, 16), half of the elements move as a dense net says,
8 -> 64, ReLU, 64 -> 16, by u · softplus(s) + t, FlowJAX's affine map; then all elements are reversed.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import bijections as bj
from fusioninn_jax.models.conditioners import conv_conditioner

PAIRS, WIDTH, CHANNELS, CLAMP, SLOPE = 8, 32, 4, 2.0, 0.636


def block() -> bj.Bijection:
    """Two couplings: each half once."""
    return bj.coupling(*conv_conditioner(WIDTH, final_relu=False, zero_last=False), clamp=CLAMP)


def weights(x: np.ndarray) -> Any:
    """Stacked over the pairs, small enough that sixteen couplings stay near the identity."""
    params = bj.scan(block(), PAIRS).init(jax.random.key(0), jnp.asarray(x))
    return jax.tree.map(lambda leaf: 0.5 * leaf, params)


def ours(kind: str) -> bj.Bijection:
    """`scan` or `chain`, then `stored` or `rebuilt`: "scan rebuilt"."""
    return _deep(block(), PAIRS, *kind.split())


def _deep(repeated: bj.Bijection, count: int, how: str, backward: str) -> bj.Bijection:
    if how == "scan":
        return bj.scan(repeated, count, backward=backward)
    members = bj.chain(*[repeated] * count, backward=backward)
    return bj.Bijection(
        members.init,
        functools.partial(_unstacked, members.forward, count),
        functools.partial(_unstacked, members.inverse, count),
    )


def _unstacked(method: Any, count: int, params: Any, x: jax.Array) -> Any:
    return method([jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(count)], x)


def distrax() -> bj.Bijection:
    """A Distrax chain behind the same three functions."""
    import distrax as dx

    def affine(raw: jax.Array) -> dx.Bijector:
        s, t = jnp.split(raw, 2, -1)
        return dx.ScalarAffine(shift=t, log_scale=CLAMP * SLOPE * jnp.arctan(s))

    def conditioner(params: Any, u: jax.Array) -> jax.Array:
        u, single = (u[None], True) if u.ndim == 3 else (u, False)
        for name in ("conv1", "conv2"):
            u = (
                jax.lax.conv_general_dilated(
                    u, params[name]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
                )
                + params[name]["bias"]
            )
            u = jax.nn.relu(u) if name == "conv1" else u
        return u[0] if single else u

    def made(params: Any) -> dx.Bijector:
        members = []
        for i in range(PAIRS):
            own = jax.tree.map(lambda leaf, i=i: leaf[i], params)
            # Distrax transforms the second part unless told to swap; ours moves the first part first
            members += [
                dx.SplitCoupling(CHANNELS // 2, 3, functools.partial(conditioner, own[name]), affine, swap=swap)
                for name, swap in (("subnet2", True), ("subnet1", False))
            ]
        return dx.Chain(members[::-1])

    return bj.Bijection(
        bj.identity().init,
        lambda params, x: made(params).forward_and_log_det(x),
        lambda params, y: made(params).inverse_and_log_det(y),
    )


DIM, HIDDEN = 16, 64
ONE = float(np.log(np.expm1(1)))  # softplus gives 1


def _softplus_forward(raw: Any, u: jax.Array) -> Any:
    scale = jax.nn.softplus(raw[0] + ONE)
    return u * scale + raw[1], jnp.log(scale)


def _softplus_inverse(raw: Any, v: jax.Array) -> Any:
    scale = jax.nn.softplus(raw[0] + ONE)
    return (v - raw[1]) / scale, -jnp.log(scale)


def _dense(params: Any, u: jax.Array, channels: int) -> jax.Array:
    return jax.nn.relu(u @ params["kernel1"] + params["bias1"]) @ params["kernel2"] + params["bias2"]


def _dense_init(key: jax.Array, u: jax.Array, channels: int) -> Any:
    keys, start = jax.random.split(key, 4), jax.nn.initializers.normal(0.1)
    sizes = ((u.shape[-1], HIDDEN), (HIDDEN,), (HIDDEN, 2 * channels), (2 * channels,))
    return {
        name: start(own, size)
        for name, own, size in zip(("kernel1", "bias1", "kernel2", "bias2"), keys, sizes, strict=True)
    }


def our_vectors(kind: str) -> bj.Bijection:
    """`scan` or `chain`, then `stored` or `rebuilt`, of the vectors' couplings; params are stacked."""
    how, backward = kind.split()
    softplus = bj.Transformer(2, _softplus_forward, _softplus_inverse)
    block = bj.chain(
        bj.half_coupling(_dense, _dense_init, swap=True, transformer=softplus), bj.permutation(range(DIM)[::-1])
    )
    return _deep(block, 2 * PAIRS, how, backward)


def flowjax() -> bj.Bijection:
    """FlowJAX's `Scan` of its `Coupling` behind the same three functions."""
    import equinox as eqx
    from flowjax import bijections as fj

    def layer(key: jax.Array) -> fj.AbstractBijection:
        coupling = fj.Coupling(
            key, transformer=fj.Affine(), untransformed_dim=DIM // 2, dim=DIM, nn_width=HIDDEN, nn_depth=1
        )
        return fj.Chain([coupling, fj.Flip((DIM,))])

    bare = fj.Scan(eqx.filter_vmap(layer)(jax.random.split(jax.random.key(0), 2 * PAIRS)))

    def weights_of(flow: fj.AbstractBijection) -> list[jax.Array]:
        layers = flow.bijection.bijections[0].conditioner.layers
        return [leaf for layer in layers for leaf in (layer.weight, layer.bias)]

    def by_element(values: jax.Array) -> jax.Array:
        """(..., 2 n), scales then shifts, as FlowJAX has them: shift and scale of each element in turn."""
        return jnp.stack(jnp.split(values, 2, -1)[::-1], -1).reshape(values.shape)

    def made(params: Any) -> fj.AbstractBijection:
        own = params[0]
        given = [
            own["kernel1"].swapaxes(1, 2),
            own["bias1"],
            by_element(own["kernel2"]).swapaxes(1, 2),
            by_element(own["bias2"]),
        ]
        return eqx.tree_at(weights_of, bare, given)

    return bj.Bijection(
        bj.identity().init,
        lambda params, x: jax.vmap(made(params).transform_and_log_det)(x),
        lambda params, y: jax.vmap(made(params).inverse_and_log_det)(y),
    )


def loss(flow: bj.Bijection, params: Any, x: jax.Array) -> jax.Array:
    """What the gradient is of."""
    y, log_det = flow.forward(params, x)
    return (0.5 * (y**2).reshape(len(y), -1).sum(-1) - log_det).mean()


class Freia:
    """FrEIA's GLOWCouplingBlock, eight of them, with given weights; PyTorch on the same cores."""

    def __init__(self, params: Any) -> None:
        import torch
        from FrEIA.framework import SequenceINN
        from FrEIA.modules import GLOWCouplingBlock

        self.torch = torch

        def subnet(channels: int, out: int) -> Any:
            return torch.nn.Sequential(
                torch.nn.Conv2d(channels, WIDTH, 3, padding=1),
                torch.nn.ReLU(),
                torch.nn.Conv2d(WIDTH, out, 3, padding=1),
            )

        self.flow = SequenceINN(CHANNELS, 64, 64)
        for i in range(PAIRS):
            self.flow.append(GLOWCouplingBlock, subnet_constructor=subnet, clamp=CLAMP, clamp_activation="ATAN")
            for name in ("subnet1", "subnet2"):
                net = getattr(self.flow[i], name)
                for layer, conv in ((net[0], "conv1"), (net[2], "conv2")):
                    kernel, bias = (np.array(params[name][conv][part][i]) for part in ("kernel", "bias"))
                    layer.weight.data = torch.from_numpy(kernel.transpose(3, 2, 0, 1).copy())
                    layer.bias.data = torch.from_numpy(bias)

    def batch(self, x: np.ndarray) -> Any:
        """(B, H, W, C) -> a tensor (B, C, H, W)."""
        return self.torch.from_numpy(np.array(x).transpose(0, 3, 1, 2).copy())

    def forward(self, x: Any) -> Any:
        with self.torch.no_grad():
            return self.flow(x)

    def inverse(self, y: Any) -> Any:
        with self.torch.no_grad():
            return self.flow(y, rev=True)

    def gradient(self, x: Any) -> Any:
        self.flow.zero_grad()
        y, log_det = self.flow(x)
        (0.5 * (y**2).sum((1, 2, 3)) - log_det).mean().backward()
        return [parameter.grad for parameter in self.flow.parameters()]
