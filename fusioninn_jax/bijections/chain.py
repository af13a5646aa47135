"""Composition of bijections: forward from the first to the last, inverse from the last to the first.

log-det of the composition = sum of the members' log-dets.

Its backward pass comes in two kinds. `stored` is plain autodiff: what each member needs is kept, so memory grows with
their number. `rebuilt` keeps the output alone and finds each member's input again with its explicit inverse, in both
directions, so memory does not depend on depth; a member is evaluated once more, and its input is that of the forward
pass up to rounding.
Source: Gomez et al. 2017, "The reversible residual network", section 3.1.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import Bijection, Params

BACKWARDS = ("stored", "rebuilt")


def chain_forward(bijections: Sequence[Bijection], params: Sequence[Params],
                  x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Applies each bijection with its own params, in order; returns (y, log_det (B,))."""
    log_det = jnp.zeros(x.shape[:1], x.dtype)
    for bijection, own in zip(bijections, params, strict=True):
        x, term = bijection.forward(own, x)
        log_det = log_det + term
    return x, log_det


def chain_inverse(bijections: Sequence[Bijection], params: Sequence[Params],
                  y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Applies each inverse with its own params, last bijection first; returns (x, log_det (B,))."""
    return chain_forward([bijection.inverted() for bijection in reversed(bijections)], params[::-1], y)


def chain(*bijections: Bijection, backward: str = "stored") -> Bijection:
    """The composition as a Bijection; its params are a list, one entry a member.

    `init` runs the batch through the members, so that each adapts to what it will really see.

    Args:
      bijections: the members, first to last.
      backward: 'stored' or 'rebuilt', how gradients are found; values are the same.

    Raises:
      ValueError: another `backward`.
    """
    if backward not in BACKWARDS:
        raise ValueError(f"backward is {backward!r}; it must be one of {', '.join(BACKWARDS)}")

    def init(key: jax.Array, x: jax.Array) -> Params:
        params = []
        for bijection, own_key in zip(bijections, jax.random.split(key, max(len(bijections), 1)), strict=False):
            params.append(bijection.init(own_key, x))
            x, _ = bijection.forward(params[-1], x)
        return params

    run = _rebuilding if backward == "rebuilt" else _storing
    forward = run(bijections)
    inverse = run([bijection.inverted() for bijection in reversed(bijections)])
    return Bijection(init, forward, lambda params, y: inverse(params[::-1], y))


Run = Callable[[Sequence[Params], jax.Array], tuple[jax.Array, jax.Array]]


def _storing(bijections: Sequence[Bijection]) -> Run:
    return lambda params, x: chain_forward(bijections, params, x)


def _rebuilding(bijections: Sequence[Bijection]) -> Run:
    """`chain_forward` of these bijections, differentiated by way of their inverses."""
    run = jax.custom_vjp(_storing(bijections))

    def forward(params: Sequence[Params], x: jax.Array) -> tuple[Any, Any]:
        y, log_det = chain_forward(bijections, params, x)
        return (y, log_det), (params, y)

    def backward(residuals: tuple[Sequence[Params], jax.Array], cotangents: tuple[jax.Array, jax.Array]) -> Any:
        params, y = residuals
        g, g_log_det = cotangents
        g_params = []
        for bijection, own in zip(reversed(bijections), reversed(params), strict=True):
            # A member may not be rebuilt before the gradient has come down to it: XLA would rebuild them all first and
            # keep them. Its CPU backend drops an optimization_barrier before it orders the work, so it is a sum.
            y, g_own, g = _pullback(bijection)(own, y + 0 * g, (g, g_log_det))
            g_params.append(g_own)
        return g_params[::-1], g

    run.defvjp(forward, backward)
    return run


def _pullback(bijection: Bijection) -> Callable[..., tuple[jax.Array, Params, jax.Array]]:
    def from_inverse(params: Params, y: jax.Array, cotangents: tuple[jax.Array, jax.Array]) -> Any:
        x, _ = bijection.inverse(params, y)
        return x, *jax.vjp(bijection.forward, params, x)[1](cotangents)
    return bijection.forward_pullback or from_inverse
