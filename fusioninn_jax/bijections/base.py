"""What a bijection is: pure functions of its parameters, and how to add one.

To add a bijection:
- Write `{name}_forward(params, x, condition=None) -> (y, log_det)` and `{name}_inverse`, functions of a module: such
  can be pickled, and `help(flow.forward)` shows their docstrings. `bound` fixes what is configuration.
- Call `checked` first in both: it refuses integers and shapes that do not fit, and says what was expected.
- Keep the input's precision (`of_dtype` casts the params) and sum log-dets by `sum_per_example`: float32 at least.
- Return `Bijection(init, forward, inverse)` from a function called `{name}`, and add it to the tables of
  tests/bijections/members.py and docs/bijections.md.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Tree = TypeVar("Tree")  # a pytree of arrays
Params = Any  # a pytree of arrays
Condition = Any  # a pytree of arrays, each with the batch as its first axis; None: no condition
Result = tuple[jax.Array, jax.Array]
Init = Callable[..., Params]
Map = Callable[..., Result]
Pullback = Callable[[Params, jax.Array, Condition, Result], tuple[jax.Array, Params, jax.Array, Condition]]


class Bijection(NamedTuple):
    """An invertible map of (B, ..., C) arrays, as pure functions of its parameters.

    `condition`, None or arrays of the same batch, is what the map may depend on beside its input; a member that has no
    use for it ignores it.

    Attributes:
      init: `(key, x, condition=None) -> params`; `x` is a batch that the map may adapt to, or whose shape it needs.
      forward: `(params, x, condition=None) -> (y, log_det)`; `log_det`, (B,), is the log absolute determinant of
        ∂y/∂x per example.
      inverse: `(params, y, condition=None) -> (x, log_det)`, with the log-determinant of ∂x/∂y, minus the forward one.
      forward_pullback: `(params, y, condition, (cotangent of y, of log_det)) -> (x, cotangent of params, of x, of
        condition)`, the backward pass of `forward` from its output alone. None: `chain` and `scan` derive it from
        `inverse` and `forward`; a bijection that can share work between the two gives its own.
      inverse_pullback: the same of `inverse`: `(params, x, condition, cotangents) -> (y, ...)`.
      inverse_init: `(key, y, condition=None) -> params`, the `init` of the inverted map, from a batch of outputs.
        None: `init` serves both.
    """

    init: Init
    forward: Map
    inverse: Map
    forward_pullback: Pullback | None = None
    inverse_pullback: Pullback | None = None
    inverse_init: Init | None = None

    def inverted(self) -> Bijection:
        """The same map with its directions exchanged."""
        return Bijection(
            self.inverse_init or self.init,
            self.inverse,
            self.forward,
            self.inverse_pullback,
            self.forward_pullback,
            self.init,
        )


def checked(taker: str, x: jax.Array, expected: str, fits: Callable[[tuple[int, ...]], bool]) -> jax.Array:
    """`x` as an array, where it may go into `taker`.

    Args:
      taker: the name that the message begins with.
      x: what came.
      expected: its shape in words.
      fits: whether a shape will do.

    Raises:
      TypeError: `x` does not hold floating-point numbers.
      ValueError: `x` has a shape that does not fit.
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(f"{taker} takes floating-point numbers; got {x.dtype}: convert the array first")
    if not x.ndim or not fits(x.shape):
        raise ValueError(f"{taker} takes {expected}; got shape {x.shape}")
    return x


def bound(function: Callable[..., Any], *args: Any, **configuration: Any) -> Callable[..., Any]:
    """`functools.partial` that keeps the docstring for `help`; it pickles wherever its parts do."""
    return described(functools.partial(function, *args, **configuration), function)


def described(partial: functools.partial[Any], by: Callable[..., Any]) -> Callable[..., Any]:
    """`partial` with the docstring of `by`."""
    partial.__doc__ = by.__doc__
    return partial


def log_det_dtype(x: jax.Array) -> jnp.dtype:
    """The precision of log-dets: that of `x`, float32 at least."""
    return jnp.dtype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def sum_per_example(x: jax.Array) -> jax.Array:
    """Sums (B, ...) over all axes but the first: (B,), float32 at least."""
    return x.sum(axis=tuple(range(1, x.ndim)), dtype=log_det_dtype(x))


def no_log_det(x: jax.Array) -> jax.Array:
    """The log-det of a map that keeps volumes: zeros (B,)."""
    return each(jnp.zeros((), log_det_dtype(x)), x)


def each(log_det: jax.Array, x: jax.Array) -> jax.Array:
    """A log-det that is the same for all examples, or (B,) already, as (B,): one for each example of `x`."""
    return varying_as(jnp.broadcast_to(log_det, x.shape[:1]), x)


def varying_as(tree: Tree, x: jax.Array) -> Tree:
    """Arrays, within `shard_map` marked to vary between the devices between which `x` does; elsewhere as they are.

    Loops and custom derivatives want alike marks on what they combine; gradients of what was marked are summed.
    """

    def marked(leaf: jax.Array) -> jax.Array:
        own, wanted = (jax.typeof(array).manual_axis_type.varying for array in (leaf, x))
        return jax.lax.pcast(leaf, tuple(sorted(wanted - own)), to="varying") if wanted - own else leaf

    return jax.tree.map(marked, tree)


def of_dtype(params: Params, x: jax.Array) -> Params:
    """The params in the precision of `x`."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(x.dtype), params)


def along_channels(values: jax.Array, x: jax.Array) -> jax.Array:
    """(C,) values with the axes of `x`, (B, ..., C), so that they broadcast without a change of rank."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)


def no_params(key: jax.Array, x: jax.Array, condition: Condition = None) -> Params:
    """The `init` of a map without parameters: an empty dict."""
    del key, x, condition
    return {}


def parameterless(forward: Map, inverse: Map) -> Bijection:
    """The Bijection of two functions of the array alone."""
    return Bijection(
        no_params,
        *(described(functools.partial(_without_params, function), function) for function in (forward, inverse)),
    )


def _without_params(function: Map, params: Params, x: jax.Array, condition: Condition = None) -> Result:
    del params, condition
    return function(x)


def called(function: Callable[..., Any], *arguments: Any, condition: Condition) -> Any:
    """`function` of the arguments, and of the condition where there is one: a user's member need not know of any."""
    return function(*arguments) if condition is None else function(*arguments, condition)


def pulled_back(
    bijection: Bijection, params: Params, y: jax.Array, condition: Condition, cotangents: Result
) -> tuple[jax.Array, Params, jax.Array, Condition]:
    """The backward pass of `bijection.forward` from its output: its own, or by way of `inverse`.

    Returns:
      x, and the cotangents of params, x and condition.
    """
    if bijection.forward_pullback is not None:
        return bijection.forward_pullback(params, y, condition, cotangents)
    x, _ = called(bijection.inverse, params, y, condition=condition)

    def forward(params: Params, x: jax.Array, condition: Condition) -> Result:
        y, log_det = called(bijection.forward, params, x, condition=condition)
        return y, each(log_det, x)

    return x, *jax.vjp(forward, params, x, condition)[1](cotangents)


def no_cotangent(condition: Condition) -> Condition:
    """Zeros as a condition's cotangent; that of integers among it is empty."""

    def zeros(leaf: jax.Array) -> Any:
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            zero = jnp.zeros_like(leaf)
            return jnp.where(leaf == leaf, zero, zero)  # within shard_map as different on every device as the leaf
        return np.zeros(leaf.shape, jax.dtypes.float0)

    return jax.tree.map(zeros, condition)


def added(a: Condition, b: Condition) -> Condition:
    """The sum of two cotangents of a condition."""
    return jax.tree.map(lambda u, v: u if u.dtype == jax.dtypes.float0 else u + v, a, b)
