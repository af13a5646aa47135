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
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

BACKWARDS = ("stored", "rebuilt")

Tree = TypeVar("Tree")  # a pytree of arrays
Given = TypeVar("Given")  # what a function gives
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
        pullbacks = self.inverse_pullback, self.forward_pullback
        return Bijection(self.inverse_init or self.init, self.inverse, self.forward, *pullbacks, self.init)


def checked(
    taker: str, x: jax.Array, expected: str = "(B, ...)", fits: Callable[[tuple[int, ...]], bool] = lambda shape: True
) -> jax.Array:
    """`x` as an array, where it may go into `taker`.

    Args:
      taker: the name that the message begins with.
      x: what came.
      expected: its shape in words.
      fits: whether a shape, of one axis at least, will do.

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


class _Bound(functools.partial):  # type: ignore[type-arg]
    """A partial whose `repr`, with which `help` begins, says what it still takes, not all that is bound."""

    __name__: str

    def __repr__(self) -> str:
        return f"<{self.__name__}{inspect.signature(self)}>"


def bound(
    function: Callable[..., Given], *args: object, by: Callable[..., object] | None = None, **settings: object
) -> Callable[..., Given]:
    """`functools.partial(function, *args, **settings)` with the name and docstring of `by`; None: of `function`.

    It pickles wherever its parts do.
    """
    partial = _Bound(function, *args, **settings)
    partial.__name__, partial.__doc__ = (by or function).__name__, (by or function).__doc__
    return partial


def checked_bijections(taker: str, *given: object) -> None:
    """Refuses, in the name of `taker`, what is no bijection.

    Raises:
      TypeError: one of `given` is something else.
    """
    for thing in given:
        if not isinstance(thing, Bijection):
            hint = f": call it, {thing.__name__}(...)" if inspect.isfunction(thing) else ""
            raise TypeError(f"{taker} takes a Bijection; got {type(thing).__name__}{hint}")


def checked_log_det(who: str, log_det: jax.Array, x: jax.Array) -> jax.Array:
    """The `log_det` that `who` gave for `x`, (B, ...).

    Raises:
      ValueError: it is not (B,).
    """
    if log_det.shape != x.shape[:1]:
        raise ValueError(f"{who} gave a log_det of shape {log_det.shape}; expected one value an example, {x.shape[:1]}")
    return log_det


def log_det_dtype(x: jax.Array) -> jnp.dtype:
    """The precision of log-dets: that of `x`, float32 at least."""
    return jnp.dtype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def sum_per_example(x: jax.Array) -> jax.Array:
    """Sums `x`, (B, ...), over all axes but the first: (B,), float32 at least."""
    return x.sum(axis=tuple(range(1, x.ndim)), dtype=log_det_dtype(x))


def no_log_det(x: jax.Array) -> jax.Array:
    """The log-det at `x`, (B, ...), of a map that keeps volumes: zeros (B,)."""
    return each(jnp.zeros((), log_det_dtype(x)), x)


def each(log_det: jax.Array, x: jax.Array) -> jax.Array:
    """`log_det`, the same for all examples or (B,) already, as (B,): one for each example of `x`."""
    kind = jax.typeof(x).sharding  # over axes that are explicit the result's must be said
    explicit = AxisType.Explicit in kind.mesh.axis_types
    batch = NamedSharding(kind.mesh, PartitionSpec(kind.spec[0])) if explicit else None
    return varying_as(jnp.broadcast_to(log_det, x.shape[:1], out_sharding=batch), x)


def varying_as(tree: Tree, *like: object) -> Tree:
    """`tree`, within `shard_map` with its arrays marked to vary between the devices as any of `like` does.

    Loops and custom derivatives want alike marks on what they combine; gradients of what was marked are summed.
    """
    wanted: set[str] = set().union(*(jax.typeof(leaf).manual_axis_type.varying for leaf in jax.tree.leaves(like)))

    def marked(leaf: jax.Array) -> jax.Array:
        lacking = wanted - jax.typeof(leaf).manual_axis_type.varying
        return jax.lax.pcast(leaf, tuple(sorted(lacking)), to="varying") if lacking else leaf

    return jax.tree.map(marked, tree)


def of_dtype(params: Params, x: jax.Array) -> Params:
    """`params` in the precision of `x`."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(x.dtype), params)


def along_channels(values: jax.Array, x: jax.Array) -> jax.Array:
    """`values`, (C,), with the axes of `x`, (B, ..., C), so that they broadcast without a change of rank."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)


def no_params(key: jax.Array, x: jax.Array, condition: Condition = None) -> Params:
    """The `init` of a map without parameters: an empty dict, whatever `key`, `x` and `condition` are."""
    del key, x, condition
    return {}


def parameterless(forward: Map, inverse: Map) -> Bijection:
    """The Bijection of two functions of the array alone, `forward` and `inverse`."""
    there, back = (bound(_without_params, function, by=function) for function in (forward, inverse))
    return Bijection(no_params, there, back)


def _without_params(function: Map, params: Params, x: jax.Array, condition: Condition = None) -> Result:
    del params, condition
    return function(x)


def called(function: Callable[..., Given], *arguments: object, condition: Condition) -> Given:
    """`function` of `arguments`, and of `condition` where there is one: a user's member need not know of any."""
    return function(*arguments) if condition is None else function(*arguments, condition)


def pulled_back(
    bijection: Bijection, params: Params, y: jax.Array, condition: Condition, cotangents: Result
) -> tuple[jax.Array, Params, jax.Array, Condition]:
    """The backward pass of `bijection.forward` from its output: its own, or by way of `inverse`.

    Args:
      bijection, params, condition: what `y` came from.
      y: the output.
      cotangents: of `y` and of the log-det.

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


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _rebuilding(forward: Map, pullback: Pullback, params: Params, x: jax.Array, condition: Condition = None) -> Result:
    return forward(params, x, condition)


def _rebuilding_fwd(
    forward: Map, pullback: Pullback, params: Params, x: jax.Array, condition: Condition
) -> tuple[Result, tuple[Params, jax.Array, Condition]]:
    y, log_det = forward(params, x, condition)
    return (y, log_det), (params, y, condition)


def _rebuilding_bwd(
    forward: Map, pullback: Pullback, residuals: tuple[Params, jax.Array, Condition], cotangents: Result
) -> tuple[Params, jax.Array, Condition]:
    params, y, condition = residuals
    return pullback(params, y, condition, cotangents)[1:]


_rebuilding.defvjp(_rebuilding_fwd, _rebuilding_bwd)


def with_backward(backward: str, forward: Map, pullback: Pullback) -> Map:
    """`forward`, differentiated as `backward` says: 'stored', by autodiff, or 'rebuilt', by `pullback` from its output.

    Raises:
      ValueError: another `backward`.
    """
    if backward not in BACKWARDS:
        raise ValueError(f"backward is {backward!r}; it must be one of {', '.join(BACKWARDS)}")
    return bound(_run_rebuilding, forward, pullback, by=forward) if backward == "rebuilt" else forward


def _run_rebuilding(
    forward: Map, pullback: Pullback, params: Params, x: jax.Array, condition: Condition = None
) -> Result:
    return _rebuilding(forward, pullback, params, varying_as(jnp.asarray(x), params, condition), condition)


def no_cotangent(condition: Condition) -> Condition:
    """Zeros as the cotangent of `condition`; that of integers among it is empty."""

    def zeros(leaf: jax.Array) -> jax.Array | np.ndarray:
        if jnp.issubdtype(leaf.dtype, jnp.inexact):
            return (leaf < leaf).astype(leaf.dtype)  # within shard_map as different on every device as the leaf
        return np.zeros(leaf.shape, jax.dtypes.float0)

    return jax.tree.map(zeros, condition)


def added(a: Condition, b: Condition) -> Condition:
    """`a` + `b`, two cotangents of a condition."""
    return jax.tree.map(lambda u, v: u if u.dtype == jax.dtypes.float0 else u + v, a, b)
