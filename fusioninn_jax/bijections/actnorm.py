"""ActNorm: a scale and a bias per channel, set from the first batch.

Forward: y = x · exp(scale) + bias; log-det = (elements per channel) · Σ scale.
Inverse: x = (y - bias) · exp(-scale).
Source: Kingma & Dhariwal 2018, "Glow", section 3.1; parametrised as in FrEIA 0.2, which the paper's authors use.
"""
from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import Bijection, Params


def actnorm_init(x: jax.Array) -> Params:
    """Parameters that bring a batch to zero mean and unit (unbiased) standard deviation per channel.

    Args:
      x: (B, ..., C), at least two elements per channel. Pass the global batch, not one device's share.

    Returns:
      `scale` and `bias`, each (C,). A constant channel keeps scale 0 and is only centred.
    """
    axes = tuple(range(x.ndim - 1))
    std = x.std(axis=axes, ddof=1)
    scale = jnp.where(std > 0, -jnp.log(jnp.where(std > 0, std, 1)), 0)
    return {"scale": scale, "bias": -x.mean(axis=axes) * jnp.exp(scale)}


def _log_det(params: Params, x: jax.Array) -> jax.Array:
    return jnp.broadcast_to(params["scale"].sum() * math.prod(x.shape[1:-1]), x.shape[:1]).astype(x.dtype)


def actnorm_forward(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """y = x · exp(scale) + bias on (B, ..., C); returns (y, log_det (B,))."""
    return x * jnp.exp(params["scale"]) + params["bias"], _log_det(params, x)


def actnorm_inverse(params: Params, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """x = (y - bias) · exp(-scale) on (B, ..., C); returns (x, log_det (B,))."""
    return (y - params["bias"]) * jnp.exp(-params["scale"]), -_log_det(params, y)


def actnorm() -> Bijection:
    """ActNorm as a Bijection; `init` adapts to the batch it is given."""
    return Bijection(lambda key, x: actnorm_init(x), actnorm_forward, actnorm_inverse)
