"""ActNorm: a scale and a bias per channel, set from the first batch.

Forward: y = x · exp(scale) + bias; log-det = (elements per channel) · Σ scale.
Inverse: x = (y - bias) · exp(-scale).
Source: Kingma & Dhariwal 2018, "Glow", section 3.1; parametrised as in FrEIA 0.2, which the paper's authors use.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import (
    Bijection,
    Condition,
    Params,
    along_channels,
    checked,
    each,
    log_det_dtype,
    of_dtype,
)


def _moments(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and unbiased standard deviation of each channel; a constant channel's counts as 1."""
    expected = "(B, ..., C) with at least one example"
    x = checked("actnorm's init", x, expected, lambda shape: len(shape) > 1 and math.prod(shape[:-1]) > 0)
    axes, x = tuple(range(x.ndim - 1)), x.astype(log_det_dtype(x))
    std = x.std(axis=axes, ddof=1) if math.prod(x.shape[:-1]) > 1 else jnp.ones(x.shape[-1], x.dtype)
    varies = x.max(axis=axes) > x.min(axis=axes)  # the mean of equal values is rounded, so their deviation is not 0
    return x.mean(axis=axes), jnp.where(varies & (std > 0), std, jnp.ones_like(std))


def actnorm_init(x: jax.Array) -> Params:
    """Parameters that bring a batch to zero mean and unit (unbiased) standard deviation per channel.

    Args:
      x: (B, ..., C). Pass the global batch, not one device's share.

    Returns:
      `scale` and `bias`, each (C,). A constant channel keeps scale 0 and is only centred.
    """
    mean, std = _moments(x)
    scale = -jnp.log(std)
    return {"scale": scale, "bias": -mean * jnp.exp(scale)}


def _init(key: jax.Array, x: jax.Array, condition: Condition = None) -> Params:
    del key, condition
    return actnorm_init(x)


def _inverse_init(key: jax.Array, y: jax.Array, condition: Condition = None) -> Params:
    """With these the inverse brings the batch to zero mean and unit deviation."""
    del key, condition
    mean, std = _moments(y)
    return {"scale": jnp.log(std), "bias": mean}


def _checked(params: Params, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """x, scale and bias in the precision of `x` and with its axes, and the log-det."""
    channels = params["scale"].shape[0]
    x = checked("actnorm", x, f"(B, ..., {channels})", lambda shape: len(shape) > 1 and shape[-1] == channels)
    scale, bias = (along_channels(of_dtype(params[name], x), x) for name in ("scale", "bias"))
    log_det = params["scale"].sum(dtype=log_det_dtype(x)) * math.prod(x.shape[1:-1])
    return x, scale, bias, each(log_det, x)


def actnorm_forward(params: Params, x: jax.Array, condition: Condition = None) -> tuple[jax.Array, jax.Array]:
    """y = x · exp(scale) + bias on (B, ..., C); returns (y, log_det (B,)).

    Args:
      params: `scale` and `bias`, (C,) each, from `actnorm_init`.
      x: (B, ..., C), floats.
      condition: is not used.

    Raises:
      TypeError: `x` holds integers.
      ValueError: other channels than the params have.
    """
    del condition
    x, scale, bias, log_det = _checked(params, x)
    return x * jnp.exp(scale) + bias, log_det


def actnorm_inverse(params: Params, y: jax.Array, condition: Condition = None) -> tuple[jax.Array, jax.Array]:
    """x = (y - bias) · exp(-scale) on (B, ..., C); returns (x, log_det (B,)). Raises as `actnorm_forward`.

    Args:
      params, condition: see `actnorm_forward`.
      y: (B, ..., C), floats, as the forward map gives them.
    """
    del condition
    y, scale, bias, log_det = _checked(params, y)
    return (y - bias) * jnp.exp(-scale), -log_det


def actnorm() -> Bijection:
    """ActNorm as a Bijection; `init` adapts to the batch it is given."""
    return Bijection(_init, actnorm_forward, actnorm_inverse, inverse_init=_inverse_init)
