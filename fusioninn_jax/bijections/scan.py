"""The same block many times, each time with params of its own: compiled once, however deep.

Forward: block after block; log-det = sum of theirs. Inverse: the last one first. The params are the block's with a
leading axis of n. `backward` is as in `chain`: `stored` keeps what every repetition needs, `rebuilt` the output alone.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import (
    Bijection,
    Condition,
    Params,
    Result,
    added,
    bound,
    called,
    checked,
    checked_bijections,
    checked_log_det,
    log_det_dtype,
    no_cotangent,
    pulled_back,
    varying_as,
    with_backward,
)


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
        return y, varying_as(checked_log_det("a scan's block", log_det, x), x)

    x = varying_as(checked("scan", x, "(B, ...)", lambda shape: True), params, condition)
    y, log_dets = jax.lax.scan(step, x, params, count, reverse=reverse)
    return y, log_dets.sum(0, dtype=log_det_dtype(x))


def _forward(
    block: Bijection, count: int, reverse: bool, params: Params, x: jax.Array, condition: Condition = None
) -> Result:
    return scan_forward(block, params, x, condition, count=count, reverse=reverse)


def scan_inverse(
    block: Bijection, params: Params, y: jax.Array, condition: Condition = None, *, count: int | None = None
) -> tuple[jax.Array, jax.Array]:
    """The inverse of `scan_forward`; returns (x, log_det of ∂x/∂y).

    Args:
      y: (B, ..., C).
      block, params, condition, count: see `scan_forward`.
    """
    return scan_forward(block.inverted(), params, y, condition, count=count, reverse=True)


def _pullback(
    block: Bijection, count: int, reverse: bool, params: Params, y: jax.Array, condition: Condition, cotangents: Result
) -> tuple[jax.Array, Params, jax.Array, Condition]:
    """The backward pass from the output, as `Bijection.forward_pullback` has it."""

    def step(carry: Any, own: Params) -> tuple[Any, Params]:
        y, g, g_condition = carry
        x, g_own, g, g_term = pulled_back(block, own, y, condition, (g, cotangents[1]))
        return (x, g, [added(a, b) for a, b in zip(g_condition, _floating(g_term), strict=True)]), g_own

    start = y, cotangents[0], _floating(no_cotangent(condition))
    (x, g, g_condition), g_params = jax.lax.scan(step, start, params, count, reverse=not reverse)
    leaves, tree = jax.tree.flatten(no_cotangent(condition))
    summed = iter(g_condition)
    whole = [leaf if leaf.dtype == jax.dtypes.float0 else next(summed) for leaf in leaves]
    return x, g_params, g, jax.tree.unflatten(tree, whole)


def _floating(tree: Condition) -> list[jax.Array]:
    """The leaves that have a cotangent."""
    return [leaf for leaf in jax.tree.leaves(tree) if leaf.dtype != jax.dtypes.float0]


def _init(
    block: Bijection, count: int, reverse: bool, key: jax.Array, x: jax.Array, condition: Condition = None
) -> Params:
    """The stacked params, those of each repetition adapted to what the batch is when it comes to it."""

    def step(x: jax.Array, key: jax.Array) -> tuple[jax.Array, Params]:
        own = called(block.init, key, x, condition=condition)
        return called(block.forward, own, x, condition=condition)[0], own

    start = varying_as(jnp.asarray(x), condition)
    return jax.lax.scan(step, start, jax.random.split(key, count), reverse=reverse)[1]


def scan(block: Bijection, count: int, *, backward: str = "stored") -> Bijection:
    """`count` repetitions of a block that keeps the shape, each with its own params, as a Bijection.

    `init` runs the batch through them, so that each adapts to what it will really see.

    Args:
      block: the bijection to repeat; a `chain` of several.
      count: how often, at least once.
      backward: 'stored' or 'rebuilt', how gradients are found; values are the same.

    Raises:
      TypeError: a block that is no Bijection.
      ValueError: another `backward`, or a count below 1.
    """
    checked_bijections("scan", block)
    if count < 1:
        raise ValueError(f"scan repeats a block at least once; got {count}")
    there, back = (block, count, False), (block.inverted(), count, True)
    pullback, inverse_pullback = bound(_pullback, *there), bound(_pullback, *back)
    return Bijection(
        bound(_init, *there),
        with_backward(backward, bound(_forward, *there, by=scan_forward), pullback),
        with_backward(backward, bound(_forward, *back, by=scan_inverse), inverse_pullback),
        pullback,
        inverse_pullback,
        bound(_init, *back),
    )
