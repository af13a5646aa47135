"""What a bijection is: three pure functions."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Params = Any  # a pytree of arrays


class Bijection(NamedTuple):
    """An invertible map of (B, ..., C) arrays, as pure functions of its parameters.

    Attributes:
      init: `(key, x) -> params`; `x` is a batch that the map may adapt to, or whose shape it needs.
      forward: `(params, x) -> (y, log_det)`; `log_det`, (B,), is the log absolute determinant of ∂y/∂x per example.
      inverse: `(params, y) -> (x, log_det)`, with the log-determinant of ∂x/∂y, the negative of the forward one.
    """

    init: Callable[[jax.Array, jax.Array], Params]
    forward: Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
    inverse: Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]


def sum_per_example(x: jax.Array) -> jax.Array:
    """Sums (B, ...) over all axes but the first: (B,)."""
    return x.sum(axis=tuple(range(1, x.ndim)))


def no_params(key: jax.Array, x: jax.Array) -> Params:
    """The `init` of a map without parameters: an empty dict."""
    del key, x
    return {}
