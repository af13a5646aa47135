"""What a bijection is: three pure functions."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

Params = Any  # a pytree of arrays
Cotangents = tuple[jax.Array, jax.Array]
Pullback = Callable[[Params, jax.Array, Cotangents], tuple[jax.Array, Params, jax.Array]]


class Bijection(NamedTuple):
    """An invertible map of (B, ..., C) arrays, as pure functions of its parameters.

    Attributes:
      init: `(key, x) -> params`; `x` is a batch that the map may adapt to, or whose shape it needs.
      forward: `(params, x) -> (y, log_det)`; `log_det`, (B,), is the log absolute determinant of ∂y/∂x per example.
      inverse: `(params, y) -> (x, log_det)`, with the log-determinant of ∂x/∂y, the negative of the forward one.
      forward_pullback: `(params, y, (cotangent of y, of log_det)) -> (x, cotangent of params, of x)`, the backward
        pass of `forward` from its output alone. None: `chain` derives it from `inverse` and `forward`; a bijection
        that can share work between the two gives its own.
      inverse_pullback: the same of `inverse`: `(params, x, cotangents) -> (y, cotangent of params, of y)`.
    """

    init: Callable[[jax.Array, jax.Array], Params]
    forward: Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
    inverse: Callable[[Params, jax.Array], tuple[jax.Array, jax.Array]]
    forward_pullback: Pullback | None = None
    inverse_pullback: Pullback | None = None

    def inverted(self) -> Bijection:
        """The same map with its directions exchanged; it cannot `init`."""
        return Bijection(_no_init, self.inverse, self.forward, self.inverse_pullback, self.forward_pullback)


def sum_per_example(x: jax.Array) -> jax.Array:
    """Sums (B, ...) over all axes but the first: (B,)."""
    return x.sum(axis=tuple(range(1, x.ndim)))


def no_params(key: jax.Array, x: jax.Array) -> Params:
    """The `init` of a map without parameters: an empty dict."""
    del key, x
    return {}


def _no_init(key: jax.Array, x: jax.Array) -> Params:
    raise NotImplementedError("an inverted bijection has the params of the one it came from")
