"""Densities and draws of a flow: log p(x) = log base(f(x)) + log |det ∂f/∂x|, and x = f⁻¹(y) with y from the base.

Source: Rezende & Mohamed 2015, "Variational inference with normalizing flows", eqs. 5-7.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from fusioninn_jax.bijections.base import Bijection, Condition, Params, called, checked, log_det_dtype, sum_per_example


class Base(NamedTuple):
    """What a flow's outputs are distributed as; make your own of two functions.

    Attributes:
      log_prob: `(y) -> (B,)`, the log-density of (B, ...) outputs.
      sample: `(key, shape, dtype) -> (B, ...)` draws.
    """

    log_prob: Callable[[jax.Array], jax.Array]
    sample: Callable[..., jax.Array]


def _sum_of(log_density: Callable[[jax.Array], jax.Array], y: jax.Array) -> jax.Array:
    y = checked("log_prob", y)
    return sum_per_example(log_density(y.astype(log_det_dtype(y))))


def _normal(y: jax.Array) -> jax.Array:
    return -0.5 * (y**2 + math.log(2 * math.pi))


def _logistic(y: jax.Array) -> jax.Array:
    return -jax.nn.softplus(y) - jax.nn.softplus(-y)


def _uniform(low: float, high: float, y: jax.Array) -> jax.Array:
    return jnp.where((y >= low) & (y <= high), -math.log(high - low), -jnp.inf).astype(y.dtype)


def normal() -> Base:
    """Independent standard normals."""
    return Base(functools.partial(_sum_of, _normal), jax.random.normal)


def logistic() -> Base:
    """Independent standard logistics; heavier tails than the normal's."""
    return Base(functools.partial(_sum_of, _logistic), jax.random.logistic)


def uniform(low: float = 0.0, high: float = 1.0) -> Base:
    """Independent values, uniform between `low` and `high`.

    Args:
      low: the lower bound.
      high: the upper bound.

    Raises:
      ValueError: an empty interval.
    """
    if not low < high:
        raise ValueError(f"uniform needs low < high; got {low} and {high}")
    return Base(
        functools.partial(_sum_of, functools.partial(_uniform, low, high)),
        functools.partial(jax.random.uniform, minval=low, maxval=high),
    )


def flow_log_prob(
    flow: Bijection, params: Params, x: jax.Array, condition: Condition = None, *, base: Base | None = None
) -> jax.Array:
    """The log-density of (B, ...) data under a flow, (B,), float32 at least.

    Args:
      flow: from data to the base.
      params: its params.
      x: the data.
      condition: None, or arrays of the same batch: log p(x | condition).
      base: None: standard normals.

    Raises:
      TypeError: `x` holds integers.
      ValueError: what the flow refuses.
    """
    y, log_det = called(flow.forward, params, x, condition=condition)
    return (base or normal()).log_prob(y) + log_det


def sample(
    flow: Bijection,
    params: Params,
    shape: tuple[int, ...],
    condition: Condition = None,
    *,
    key: jax.Array,
    base: Base | None = None,
    dtype: DTypeLike = jnp.float32,
) -> jax.Array:
    """Draws from a flow.

    Args:
      flow, params, shape, condition, key, base, dtype: see `sample_and_log_prob`.
    """
    return sample_and_log_prob(flow, params, shape, condition, key=key, base=base, dtype=dtype)[0]


def sample_and_log_prob(
    flow: Bijection,
    params: Params,
    shape: tuple[int, ...],
    condition: Condition = None,
    *,
    key: jax.Array,
    base: Base | None = None,
    dtype: DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array]:
    """Draws from a flow, and their log-densities, by one pass of the inverse.

    Args:
      flow: from data to the base.
      params: its params.
      shape: that of the flow's outputs, (B, ...): what the base draws.
      condition: None, or arrays of the same batch; draw n times from one by repeating it n times.
      key: of the draws.
      base: None: standard normals.
      dtype: of the draws.

    Returns:
      (x, log_prob (B,)).
    """
    own = base or normal()
    y = own.sample(key, shape, dtype)
    x, log_det = called(flow.inverse, params, y, condition=condition)
    return x, own.log_prob(y) - log_det
