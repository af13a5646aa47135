"""Logit of a slightly shrunk unit interval, the way from bounded intensities to an unbounded flow and back.

Forward: p = shrinkage + (1 - 2 · shrinkage) · x, y = log p - log(1 - p).
log-det = Σ log(1 - 2 · shrinkage) - log p - log(1 - p) = Σ log(1 - 2 · shrinkage) + softplus(y) + softplus(-y).
Inverse: x = (sigmoid(y) - shrinkage) / (1 - 2 · shrinkage).
Source: Dinh et al. 2016, "Density estimation using Real NVP", section 4.1 (there with α = 0.05, one side only).
"""
from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import Bijection, no_params, sum_per_example


def _log_det(y: jax.Array, shrinkage: float) -> jax.Array:
    return sum_per_example(math.log(1 - 2 * shrinkage) + jax.nn.softplus(y) + jax.nn.softplus(-y))


def logit_forward(x: jax.Array, *, shrinkage: float) -> tuple[jax.Array, jax.Array]:
    """Logit of (B, ..., C) values.

    Args:
      x: values in [0, 1]; beyond by less than shrinkage / (1 - 2 · shrinkage) is still exact, further is clipped.
      shrinkage: in [0, 0.5); 0 sends 0 and 1 to the largest finite logit of the dtype.

    Returns:
      (y, log_det), y unbounded but finite.
    """
    eps = jnp.finfo(x.dtype).eps
    p = jnp.clip(shrinkage + (1 - 2 * shrinkage) * x, eps, 1 - eps)  # the logit of 0 and of 1 is not finite
    y = jnp.log(p) - jnp.log1p(-p)
    return y, _log_det(y, shrinkage)


def logit_inverse(y: jax.Array, *, shrinkage: float) -> tuple[jax.Array, jax.Array]:
    """(sigmoid(y) - shrinkage) / (1 - 2 · shrinkage); may leave [0, 1] by shrinkage / (1 - 2 · shrinkage)."""
    x = (jax.nn.sigmoid(y) - shrinkage) / (1 - 2 * shrinkage)
    return x, -_log_det(y, shrinkage)


def logit(*, shrinkage: float) -> Bijection:
    """Logit as a Bijection without parameters.

    Raises:
      ValueError: shrinkage outside [0, 0.5).
    """
    if not 0 <= shrinkage < 0.5:
        raise ValueError(f"shrinkage must be in [0, 0.5); got {shrinkage}")
    return Bijection(no_params, lambda params, x: logit_forward(x, shrinkage=shrinkage),
                     lambda params, y: logit_inverse(y, shrinkage=shrinkage))
