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

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax

from fusioninn_jax.bijections.base import (
    Bijection,
    Condition,
    Init,
    Map,
    Params,
    Result,
    added,
    bound,
    called,
    checked,
    checked_bijections,
    checked_log_det,
    no_cotangent,
    no_log_det,
    pulled_back,
    with_backward,
)


def chain_forward(
    bijections: Sequence[Bijection], params: Sequence[Params], x: jax.Array, condition: Condition = None
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
        log_det = log_det + checked_log_det(f"member {position} of a chain", term, x).astype(log_det.dtype)
    return x, log_det


def chain_inverse(
    bijections: Sequence[Bijection], params: Sequence[Params], y: jax.Array, condition: Condition = None
) -> tuple[jax.Array, jax.Array]:
    """The inverse of `chain_forward`, last bijection first; returns (x, log_det of ∂x/∂y). Raises as that.

    Args:
      bijections, params, condition: see `chain_forward`; in its order.
      y: (B, ...), what the last member gives.
    """
    back = Steps(tuple(bijections), ()).inverted()
    return chain_forward(back.members, params[::-1], y, condition)


class Steps(NamedTuple):
    """Bijections in the order of use, and where the params of each stand among those of all."""

    members: tuple[Bijection, ...]
    keys: tuple[int | str, ...]

    def inverted(self) -> Steps:
        """The inverses, in their order of use."""
        return Steps(tuple(member.inverted() for member in reversed(self.members)), self.keys[::-1])


def _forward(steps: Steps, params: Params, x: jax.Array, condition: Condition = None) -> Result:
    given = params if isinstance(params, Mapping) else dict(enumerate(params))
    if set(given) != set(steps.keys):
        raise ValueError(
            f"a chain of {len(steps.keys)} bijections takes as many params; got {len(given)}: "
            f"for {list(given)}, not {sorted(steps.keys)}"
        )
    return chain_forward(steps.members, [given[key] for key in steps.keys], x, condition)


def _pullback(
    steps: Steps, params: Params, y: jax.Array, condition: Condition, cotangents: Result
) -> tuple[jax.Array, Params, jax.Array, Condition]:
    """The backward pass from the output, as `Bijection.forward_pullback` has it."""
    g, g_log_det = cotangents
    g_params, g_condition = {}, no_cotangent(condition)
    for member, key in zip(reversed(steps.members), reversed(steps.keys), strict=True):
        # A member may not be rebuilt before the gradient has come down to it: XLA would rebuild them all first and
        # keep them. Its CPU backend drops an optimization_barrier before it orders the work, so it is a sum.
        y, g_params[key], g, g_term = pulled_back(member, params[key], y + 0 * g, condition, (g, g_log_det))
        g_condition = added(g_condition, g_term)
    like = jax.tree.structure(params, is_leaf=lambda node: node is not params)
    places = jax.tree.unflatten(like, range(len(steps.keys)))  # an OrderedDict keeps an order of its own
    in_order = [g_params[key] for key in sorted(steps.keys, key=lambda key: places[key])]
    return y, jax.tree.unflatten(like, in_order), g, g_condition


def of_steps(
    steps: Steps, init: Init, inverse_init: Init | None, backward: str, forward: Map, inverse: Map
) -> Bijection:
    """`steps` as a Bijection with these `init` and `inverse_init` and with gradients as `backward` says, see `chain`;
    `forward` and `inverse` give its directions their names and docstrings.
    """
    back = steps.inverted()
    there_back, back_back = bound(_pullback, steps), bound(_pullback, back)
    return Bijection(
        init,
        with_backward(backward, bound(_forward, steps, by=forward), there_back),
        with_backward(backward, bound(_forward, back, by=inverse), back_back),
        there_back,
        back_back,
        inverse_init,
    )


def _init(steps: Steps, key: jax.Array, x: jax.Array, condition: Condition = None) -> list[Params]:
    """The members' params, each adapted to what the batch is when it comes to it."""
    params = {}
    keys = jax.random.split(key, max(len(steps.members), 1))
    for position, (member, place) in enumerate(zip(*steps, strict=True)):
        params[place] = called(member.init, keys[position], x, condition=condition)
        x, _ = called(member.forward, params[place], x, condition=condition)
    return [params[place] for place in range(len(params))]


def chain(*bijections: Bijection, backward: str = "stored") -> Bijection:
    """The composition as a Bijection; its params are a list, one entry a member.

    `init` runs the batch through the members, so that each adapts to what it will really see.

    Args:
      bijections: the members, first to last.
      backward: 'stored' or 'rebuilt', how gradients are found; values are the same.

    Raises:
      TypeError: a member that is no Bijection.
      ValueError: another `backward`.
    """
    checked_bijections("chain", *bijections)
    steps = Steps(bijections, tuple(range(len(bijections))))
    inits = bound(_init, steps), bound(_init, steps.inverted())
    return of_steps(steps, *inits, backward, chain_forward, chain_inverse)
