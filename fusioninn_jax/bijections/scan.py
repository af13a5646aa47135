"""The same block many times, each time with params of its own: compiled once, however deep.

Forward: block after block; log-det = sum of theirs. Inverse: the last one first. The params are the block's with a
leading axis of n. `backward` is as in `chain`: `stored` keeps what every repetition needs, `rebuilt` the output alone.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import (
    Bijection,
    Condition,
    Params,
    Result,
    added,
    called,
    checked,
    described,
    each,
    log_det_dtype,
    no_cotangent,
    pulled_back,
)
from fusioninn_jax.bijections.chain import checked_backward


def scan_forward(
    block: Bijection,
    params: Params,
    x: jax.Array,
    condition: Condition = None,
    *,
    count: int | None = None,
    reverse: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Applies `block` with each of the stacked params in turn; returns (y, log_det (B,)).

    Args:
      block: a bijection that keeps shape and precision.
      params: its params, each leaf (n, ...).
      x: (B, ..., C).
      condition: None, or arrays of the same batch; every repetition gets it.
      count: n, needed where the block has no params.
      reverse: begin with the last params.

    Raises:
      TypeError: `x` holds integers.
      ValueError: a block that changes the shape, or what the block refuses.
    """

    def step(x: jax.Array, own: Params) -> Result:
        y, log_det = called(block.forward, own, x, condition=condition)
        if y.shape != x.shape or y.dtype != x.dtype:
            raise ValueError(
                f"scan takes a block that keeps shape and type; it made {y.dtype}{y.shape} of {x.dtype}{x.shape}"
            )
        return y, each(log_det, x)

    x = checked("scan", x, "(B, ...)", lambda shape: True)
    y, log_dets = jax.lax.scan(step, x, params, count, reverse=reverse)
    return y, log_dets.sum(0, dtype=log_det_dtype(x))


def scan_inverse(
    block: Bijection, params: Params, y: jax.Array, condition: Condition = None, *, count: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """The inverse of `scan_forward`, same arguments; returns (x, log_det of ∂x/∂y).

    Args:
      block, params, condition, count: see `scan_forward`.
      y: (B, ..., C).
    """
    return scan_forward(block.inverted(), params, y, condition, count=count, reverse=True)


class _Repeated(NamedTuple):
    """What a scan is made of; `reverse` begins with the last params."""

    block: Bijection
    times: int
    backward: str
    reverse: bool = False


def _pullback(
    of: _Repeated, params: Params, y: jax.Array, condition: Condition, cotangents: Result
) -> tuple[jax.Array, Params, jax.Array, Condition]:
    """The backward pass from the output, as `Bijection.forward_pullback` has it."""

    def step(carry: Any, own: Params) -> tuple[Any, Params]:
        y, g, g_condition = carry
        x, g_own, g, g_term = pulled_back(of.block, own, y, condition, (g, cotangents[1]))
        return (x, g, [added(a, b) for a, b in zip(g_condition, _floating(g_term), strict=True)]), g_own

    start = y, cotangents[0], _floating(no_cotangent(condition))
    (x, g, g_condition), g_params = jax.lax.scan(step, start, params, of.times, reverse=not of.reverse)
    leaves, tree = jax.tree.flatten(no_cotangent(condition))
    summed = iter(g_condition)
    whole = [leaf if leaf.dtype == jax.dtypes.float0 else next(summed) for leaf in leaves]
    return x, g_params, g, jax.tree.unflatten(tree, whole)


def _floating(tree: Condition) -> list[jax.Array]:
    """The leaves that have a cotangent."""
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.dtype != jax.dtypes.float0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rebuilding(of: _Repeated, params: Params, x: jax.Array, condition: Condition) -> Result:
    return scan_forward(of.block, params, x, condition, count=of.times, reverse=of.reverse)


def _rebuilding_fwd(of: _Repeated, params: Params, x: jax.Array, condition: Condition) -> Any:
    y, log_det = scan_forward(of.block, params, x, condition, count=of.times, reverse=of.reverse)
    return (y, log_det), (params, y, condition)


def _rebuilding_bwd(of: _Repeated, residuals: Any, cotangents: Result) -> Any:
    params, y, condition = residuals
    return _pullback(of, params, y, condition, cotangents)[1:]


_rebuilding.defvjp(_rebuilding_fwd, _rebuilding_bwd)


def _run(of: _Repeated, params: Params, x: jax.Array, condition: Condition = None) -> Result:
    if of.backward == "rebuilt":
        return _rebuilding(of, params, x, condition)
    return scan_forward(of.block, params, x, condition, count=of.times, reverse=of.reverse)


def _init(of: _Repeated, key: jax.Array, x: jax.Array, condition: Condition = None) -> Params:
    def step(x: jax.Array, key: jax.Array) -> tuple[jax.Array, Params]:
        own = called(of.block.init, key, x, condition=condition)
        return called(of.block.forward, own, x, condition=condition)[0], own

    return jax.lax.scan(step, jnp.asarray(x), jax.random.split(key, of.times), reverse=of.reverse)[1]


def scan(block: Bijection, count: int, *, backward: str = "stored") -> Bijection:
    """`count` repetitions of a block that keeps the shape, each with its own params, as a Bijection.

    `init` runs the batch through them, so that each adapts to what it will really see.

    Args:
      block: the bijection to repeat; a `chain` of several.
      count: how often, at least once.
      backward: 'stored' or 'rebuilt', how gradients are found; values are the same.

    Raises:
      ValueError: another `backward`, or a count below 1.
    """
    checked_backward(backward)
    if count < 1:
        raise ValueError(f"scan repeats a block at least once; got {count}")
    there = _Repeated(block, count, backward)
    back = _Repeated(block.inverted(), count, backward, reverse=True)
    return Bijection(
        functools.partial(_init, there),
        described(functools.partial(_run, there), scan_forward),
        described(functools.partial(_run, back), scan_inverse),
        functools.partial(_pullback, there),
        functools.partial(_pullback, back),
        functools.partial(_init, back),
    )
