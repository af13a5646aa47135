"""Composition of bijections: forward from the first to the last, inverse from the last to the first.

log-det of the composition = sum of the members' log-dets.

Its backward pass comes in two kinds. `stored` is plain autodiff: what each member needs is kept, so memory grows with
their number. `rebuilt` keeps the output alone and finds each member's input again with its explicit inverse, in both
directions, so memory does not depend on depth; a member is evaluated once more, and its input is that of the forward
pass up to rounding. `rebuilt` has no forward mode (`jax.jvp`, `jax.hessian`): the same chain made with
`backward="stored"` has it, and takes the same params.
Source: Gomez et al. 2017, "The reversible residual network", section 3.1.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax

from fusioninn_jax.bijections.base import (
    Bijection,
    Condition,
    Params,
    Result,
    added,
    called,
    checked,
    described,
    no_cotangent,
    no_log_det,
    pulled_back,
)

BACKWARDS = ("stored", "rebuilt")

Members = Sequence[Bijection]


def chain_forward(
    bijections: Members, params: Sequence[Params], x: jax.Array, condition: Condition = None
) -> tuple[jax.Array, jax.Array]:
    """Applies each bijection with its own params, in order; returns (y, log_det (B,)).

    Args:
      bijections: the members, first to last.
      params: a list of their params.
      x: (B, ..., C), what the first member takes.
      condition: None, or arrays of the same batch; every member gets it.

    Raises:
      TypeError: `x` holds integers.
      ValueError: another number of params than of members; what a member refuses; a member's log_det that is not (B,).
    """
    if len(params) != len(bijections):
        raise ValueError(f"a chain of {len(bijections)} bijections takes as many params; got {len(params)}")
    x = checked("chain", x, "(B, ...)", lambda shape: True)
    log_det = no_log_det(x)
    for position, (bijection, own) in enumerate(zip(bijections, params, strict=True)):
        x, term = called(bijection.forward, own, x, condition=condition)
        if term.shape != log_det.shape:
            raise ValueError(
                f"member {position} of a chain gave a log_det of shape {term.shape}; "
                f"expected one value an example, {log_det.shape}"
            )
        log_det = log_det + term.astype(log_det.dtype)
    return x, log_det


def chain_inverse(
    bijections: Members, params: Sequence[Params], y: jax.Array, condition: Condition = None
) -> tuple[jax.Array, jax.Array]:
    """Applies each inverse with its own params, last bijection first; returns (x, log_det (B,)).

    Arguments and errors are those of `chain_forward`.

    Args:
      bijections: the members, in the order of the forward map.
      params: one for each member, in that order.
      y: (B, ...).
      condition: None, or arrays of the same batch.
    """
    return chain_forward(reversed_members(bijections), params[::-1], y, condition)


def reversed_members(bijections: Members) -> tuple[Bijection, ...]:
    """The members of the inverse, in its order."""
    return tuple(bijection.inverted() for bijection in reversed(bijections))


def chain_pullback(
    bijections: Members, params: Sequence[Params], y: jax.Array, condition: Condition, cotangents: Result
) -> tuple[jax.Array, list[Params], jax.Array, Condition]:
    """The backward pass of `chain_forward` from its output, as `Bijection.forward_pullback` has it."""
    g, g_log_det = cotangents
    g_params, g_condition = [], no_cotangent(condition)
    for bijection, own in zip(reversed(bijections), reversed(params), strict=True):
        # A member may not be rebuilt before the gradient has come down to it: XLA would rebuild them all first and
        # keep them. Its CPU backend drops an optimization_barrier before it orders the work, so it is a sum.
        y, g_own, g, g_term = pulled_back(bijection, own, y + 0 * g, condition, (g, g_log_det))
        g_params.append(g_own)
        g_condition = added(g_condition, g_term)
    return y, g_params[::-1], g, g_condition


def _inverse_pullback(
    bijections: Members, params: Sequence[Params], x: jax.Array, condition: Condition, cotangents: Result
) -> tuple[jax.Array, list[Params], jax.Array, Condition]:
    y, g_params, *rest = chain_pullback(reversed_members(bijections), params[::-1], x, condition, cotangents)
    return y, g_params[::-1], *rest


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _rebuilding(bijections: Members, params: Sequence[Params], x: jax.Array, condition: Condition) -> Result:
    return chain_forward(bijections, params, x, condition)


def _rebuilding_fwd(bijections: Members, params: Sequence[Params], x: jax.Array, condition: Condition) -> Any:
    y, log_det = chain_forward(bijections, params, x, condition)
    return (y, log_det), (params, y, condition)


def _rebuilding_bwd(bijections: Members, residuals: Any, cotangents: Result) -> Any:
    params, y, condition = residuals
    return chain_pullback(bijections, params, y, condition, cotangents)[1:]


_rebuilding.defvjp(_rebuilding_fwd, _rebuilding_bwd)


def _forward(
    bijections: Members, backward: str, params: Sequence[Params], x: jax.Array, condition: Condition = None
) -> tuple[jax.Array, jax.Array]:
    run = _rebuilding if backward == "rebuilt" else chain_forward
    return run(bijections, params, x, condition)


def _inverse(
    bijections: Members, backward: str, params: Sequence[Params], y: jax.Array, condition: Condition = None
) -> tuple[jax.Array, jax.Array]:
    return _forward(reversed_members(bijections), backward, params[::-1], y, condition)


def _init(bijections: Members, key: jax.Array, x: jax.Array, condition: Condition = None) -> list[Params]:
    params = []
    for bijection, own_key in zip(bijections, jax.random.split(key, max(len(bijections), 1)), strict=False):
        params.append(called(bijection.init, own_key, x, condition=condition))
        x, _ = called(bijection.forward, params[-1], x, condition=condition)
    return params


def _inverse_init(bijections: Members, key: jax.Array, y: jax.Array, condition: Condition = None) -> list[Params]:
    return _init(reversed_members(bijections), key, y, condition)[::-1]


def checked_backward(backward: str) -> str:
    """`backward`, where it is one of `BACKWARDS`.

    Raises:
      ValueError: it is not.
    """
    if backward not in BACKWARDS:
        raise ValueError(f"backward is {backward!r}; it must be one of {', '.join(BACKWARDS)}")
    return backward


def chain(*bijections: Bijection, backward: str = "stored") -> Bijection:
    """The composition as a Bijection; its params are a list, one entry a member.

    `init` runs the batch through the members, so that each adapts to what it will really see.

    Args:
      bijections: the members, first to last.
      backward: 'stored' or 'rebuilt', how gradients are found; values are the same.

    Raises:
      ValueError: another `backward`.
    """
    backward = checked_backward(backward)
    forward, inverse = (
        described(functools.partial(function, bijections, backward), public)
        for function, public in ((_forward, chain_forward), (_inverse, chain_inverse))
    )
    return Bijection(
        functools.partial(_init, bijections),
        forward,
        inverse,
        functools.partial(chain_pullback, bijections),
        functools.partial(_inverse_pullback, bijections),
        functools.partial(_inverse_init, bijections),
    )
