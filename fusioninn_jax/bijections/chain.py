"""Composition of bijections: forward from the first to the last, inverse from the last to the first.

log-det of the composition = sum of the members' log-dets.
"""
from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import Bijection, Params


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
    log_det = jnp.zeros(y.shape[:1], y.dtype)
    for bijection, own in zip(reversed(bijections), reversed(params), strict=True):
        y, term = bijection.inverse(own, y)
        log_det = log_det + term
    return y, log_det


def chain(*bijections: Bijection) -> Bijection:
    """The composition as a Bijection; its params are a list, one entry a member.

    `init` runs the batch through the members, so that each adapts to what it will really see.
    """
    def init(key: jax.Array, x: jax.Array) -> Params:
        params = []
        for bijection, own_key in zip(bijections, jax.random.split(key, max(len(bijections), 1)), strict=False):
            params.append(bijection.init(own_key, x))
            x, _ = bijection.forward(params[-1], x)
        return params

    return Bijection(init, lambda params, x: chain_forward(bijections, params, x),
                     lambda params, y: chain_inverse(bijections, params, y))
