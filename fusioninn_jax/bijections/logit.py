"""Logit of a slightly shrunk unit interval, the way from bounded intensities to an unbounded flow and back.

Forward, for x in [0, 1]: p = shrinkage + (1 - 2 · shrinkage) · x, y = log p - log(1 - p).
log-det = Σ log(1 - 2 · shrinkage) - log p - log(1 - p) = Σ log(1 - 2 · shrinkage) + softplus(y) + softplus(-y).
Inverse: x = (sigmoid(y) - shrinkage) / (1 - 2 · shrinkage).
Beyond the images of 0 and 1 both go on as straight lines of the same slope. A sigmoid would saturate there, and in
float32 the inverse could not tell its values apart: round trips through deep flows then miss by 1e-1.
Source: Dinh et al. 2016, "Density estimation using Real NVP", section 4.1 (there α = 0.05, one side, no tails).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import Bijection, bound, checked, log_det_dtype, parameterless, sum_per_example


def _tail(shrinkage: float) -> tuple[float, float]:
    """Where the straight lines begin, |y|, and their slope ∂x/∂y."""
    return math.log((1 - shrinkage) / shrinkage), shrinkage * (1 - shrinkage) / (1 - 2 * shrinkage)


def _log_det(y: jax.Array, shrinkage: float) -> jax.Array:
    start, _ = _tail(shrinkage)
    inside = jnp.clip(y.astype(log_det_dtype(y)), -start, start)
    return sum_per_example(math.log(1 - 2 * shrinkage) + jax.nn.softplus(inside) + jax.nn.softplus(-inside))


def logit_forward(x: jax.Array, *, shrinkage: float) -> tuple[jax.Array, jax.Array]:
    """Logit of (B, ..., C) values, meant for [0, 1]; a straight line beyond.

    Args:
      x: any finite values.
      shrinkage: in (0, 0.5).

    Returns:
      (y, log_det).

    Raises:
      TypeError: `x` holds integers.
    """
    x = checked("logit", x)
    wide = x.astype(log_det_dtype(x))  # in bfloat16, 1 - p is 0 for small shrinkages
    inside = jnp.clip(wide, 0, 1)
    p, rest = (shrinkage + (1 - 2 * shrinkage) * part for part in (inside, 1 - inside))
    y = jnp.log(p) - jnp.log(rest) + (wide - inside) / _tail(shrinkage)[1]
    return y.astype(x.dtype), _log_det(y, shrinkage)


def logit_inverse(y: jax.Array, *, shrinkage: float) -> tuple[jax.Array, jax.Array]:
    """The inverse of `logit_forward`; leaves [0, 1] where |y| > log((1 - shrinkage) / shrinkage).

    Args:
      y: (B, ...), floats.
      shrinkage: that of the forward map.
    """
    y = checked("logit", y)
    start, slope = _tail(shrinkage)
    wide = y.astype(log_det_dtype(y))
    inside = jnp.clip(wide, -start, start)
    x = (jax.nn.sigmoid(inside) - shrinkage) / (1 - 2 * shrinkage) + (wide - inside) * slope
    return x.astype(y.dtype), -_log_det(y, shrinkage)


def logit(*, shrinkage: float) -> Bijection:
    """Logit as a Bijection without parameters.

    Args:
      shrinkage: how far the ends of [0, 1] are drawn in, in (0, 0.5).

    Raises:
      ValueError: shrinkage outside (0, 0.5).
    """
    if not 0 < shrinkage < 0.5:
        raise ValueError(f"shrinkage must be in (0, 0.5); got {shrinkage}")
    return parameterless(bound(logit_forward, shrinkage=shrinkage), bound(logit_inverse, shrinkage=shrinkage))
