"""Couplings: one part of the channels is transformed, element by element, as a function of the other part.

With u1 the first part of the channels, by default C // 2 of them, and u2 the rest:
One-sided, forward: v1 = T(u1; h(u2)), v2 = u2; log-det = Σ log |∂v1/∂u1|. Inverse: u1 = T⁻¹(v1; h(u2)).
Two-sided, forward: v1 = T(u1; h2(u2)), then v2 = T(u2; h1(v1)). Inverse: back, in the other order.
By default T is affine, v1 = u1 · exp(s2(u2)) + t2(u2); `transformers` has others.
Source: FusionINN (arXiv 2403.15769) eq. 1, after Dinh et al. 2016, "Density estimation using Real NVP", eqs. 7-8.
A conditioner h is any function, never inverted; it gives the transformer's parameters one after the other, each for all
channels: (s, t) for the affine one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from fusioninn_jax.bijections.base import (
    Bijection,
    Condition,
    Params,
    Result,
    called,
    checked,
    described,
    each,
    sum_per_example,
)
from fusioninn_jax.bijections.chain import chain_forward, chain_pullback, reversed_members
from fusioninn_jax.bijections.parts import Channels, Mask, Split, parts_of
from fusioninn_jax.bijections.transformers import CLAMP, Transformer, affine

# (params, u (B, ..., c), channels[, condition]) -> (B, ..., parameters * channels), for a part of `channels` channels
Conditioner = Callable[..., jax.Array]
# (key, u, channels[, condition]) -> params of a conditioner that will see arrays like u
ConditionerInit = Callable[..., Params]


def no_conditioner_params(key: jax.Array, u: jax.Array, channels: int, condition: Condition = None) -> Params:
    """For a conditioner without parameters."""
    del key, u, channels, condition
    return {}


class _Half(NamedTuple):
    """A one-sided coupling's configuration."""

    conditioner: Conditioner
    transformer: Transformer
    split: Split
    swap: bool

    def parts(self, x: jax.Array) -> Channels | Mask:
        parts = parts_of(self.split, x.shape)
        return parts.swapped() if self.swap else parts

    def inverted(self) -> _Half:
        number, forward, inverse = self.transformer
        return self._replace(transformer=Transformer(number, inverse, forward))

    def raw(self, params: Params, seen: jax.Array, moving: jax.Array, condition: Condition) -> list[jax.Array]:
        """The transformer's parameters, from what the conditioner sees, in the precision of what moves."""
        channels, number = moving.shape[-1], self.transformer.parameters
        given = called(self.conditioner, params, seen, channels, condition=condition)
        if given.shape != (*moving.shape[:-1], number * channels):
            raise ValueError(
                f"the conditioner gave {given.shape}; {number} parameters for {moving.shape} need "
                f"{(*moving.shape[:-1], number * channels)}"
            )
        given = given.astype(moving.dtype)  # a bfloat16 conditioner must not lower the flow's own precision
        return [given[..., i * channels : (i + 1) * channels] for i in range(number)]


def _checked(x: jax.Array) -> jax.Array:
    return checked("coupling", x, "(B, ..., C)", lambda shape: len(shape) > 1)


def _moved(half: _Half, parts: Channels | Mask, raw: list[jax.Array], moving: jax.Array) -> Result:
    moved, log_slope = half.transformer.forward(raw, moving)
    return moved, each(sum_per_example(parts.only_moving(log_slope)), moving)


def _forward(half: _Half, params: Params, x: jax.Array, condition: Condition = None) -> Result:
    x = _checked(x)
    parts = half.parts(x)
    moving, seen = parts.separated(x)
    moved, log_det = _moved(half, parts, half.raw(params, seen, moving, condition), moving)
    return parts.joined(moved, seen), log_det


def _inverse(half: _Half, params: Params, y: jax.Array, condition: Condition = None) -> Result:
    return _forward(half.inverted(), params, y, condition)


def _pullback(half: _Half, params: Params, y: jax.Array, condition: Condition, cotangents: Result) -> Any:
    """The backward pass from the output; the conditioner, which sees what did not move, is evaluated once."""
    parts = half.parts(y)
    (moved, seen), (g_moved, g_seen) = parts.separated(y), parts.separated(cotangents[0])
    raw, pull_raw = jax.vjp(
        lambda params, seen, condition: half.raw(params, seen, moved, condition), params, seen, condition
    )
    moving, _ = half.transformer.inverse(raw, moved)
    g_raw, g_moving = jax.vjp(functools.partial(_moved, half, parts), raw, moving)[1]((g_moved, cotangents[1]))
    g_params, g_through, g_condition = pull_raw(g_raw)
    return parts.joined(moving, seen), g_params, parts.joined(g_moving, g_seen + g_through), g_condition


def _inverse_pullback(half: _Half, params: Params, x: jax.Array, condition: Condition, cotangents: Result) -> Any:
    return _pullback(half.inverted(), params, x, condition, cotangents)


def _init(
    half: _Half, conditioner_init: ConditionerInit, key: jax.Array, x: jax.Array, condition: Condition = None
) -> Params:
    x = _checked(x)
    moving, seen = half.parts(x).separated(x)
    return called(conditioner_init, key, seen, moving.shape[-1], condition=condition)


def half_coupling_forward(
    params: Params,
    x: jax.Array,
    conditioner: Conditioner,
    *,
    condition: Condition = None,
    clamp: float | None = CLAMP,
    split: Split = None,
    swap: bool = False,
    transformer: Transformer | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The one-sided coupling of (B, ..., C); the first part moves and the conditioner sees the rest.

    Args:
      params: the conditioner's.
      swap: the rest moves and the conditioner sees the first part.
      x, conditioner, condition, clamp, split, transformer: as for `coupling_forward`, which names the errors too.

    Returns:
      (y, log_det), shaped as x and (B,).
    """
    return _forward(_Half(conditioner, transformer or affine(clamp), split, swap), params, x, condition)


def half_coupling_inverse(
    params: Params,
    y: jax.Array,
    conditioner: Conditioner,
    *,
    condition: Condition = None,
    clamp: float | None = CLAMP,
    split: Split = None,
    swap: bool = False,
    transformer: Transformer | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The exact inverse of `half_coupling_forward`, same arguments; returns (x, log_det of ∂x/∂y).

    Args:
      y: (B, ..., C), floats.
      params, conditioner, condition, clamp, split, swap, transformer: see `half_coupling_forward`.
    """
    return _inverse(_Half(conditioner, transformer or affine(clamp), split, swap), params, y, condition)


def half_coupling(
    conditioner: Conditioner,
    conditioner_init: ConditionerInit = no_conditioner_params,
    *,
    clamp: float | None = CLAMP,
    split: Split = None,
    swap: bool = False,
    transformer: Transformer | None = None,
) -> Bijection:
    """A one-sided coupling as a Bijection; params: the conditioner's. Takes what `coupling` takes, and `swap`.

    Args:
      conditioner, conditioner_init, clamp, split, transformer: see `coupling`.
      swap: the rest moves and the conditioner sees the first part.
    """
    half = _Half(conditioner, transformer or affine(clamp), split, swap)
    return Bijection(
        functools.partial(_init, half, conditioner_init),
        described(functools.partial(_forward, half), half_coupling_forward),
        described(functools.partial(_inverse, half), half_coupling_inverse),
        functools.partial(_pullback, half),
        functools.partial(_inverse_pullback, half),
    )


Sides = tuple[Bijection, ...]
NAMES = ("subnet2", "subnet1")  # of the conditioners' params, in the order of the two sides


def _sides_forward(
    sides: Sides, names: tuple[str, ...], params: Params, x: jax.Array, condition: Condition = None
) -> Result:
    return chain_forward(sides, [params[name] for name in names], x, condition)


def _sides_pullback(
    sides: Sides, names: tuple[str, ...], params: Params, y: jax.Array, condition: Condition, cotangents: Result
) -> Any:
    x, g_params, *rest = chain_pullback(sides, [params[name] for name in names], y, condition, cotangents)
    return x, dict(zip(names, g_params, strict=True)), *rest


def _sides_init(sides: Sides, key: jax.Array, x: jax.Array, condition: Condition = None) -> Params:
    key1, key2 = jax.random.split(key)  # subnet1's is the first
    return {
        name: called(side.init, own_key, x, condition=condition)
        for name, side, own_key in zip(NAMES, sides, (key2, key1), strict=True)
    }


def coupling_forward(
    params: Params,
    x: jax.Array,
    conditioner: Conditioner,
    *,
    condition: Condition = None,
    clamp: float | None = CLAMP,
    split: Split = None,
    transformer: Transformer | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The two-sided coupling of (B, ..., C), C ≥ 2.

    Args:
      params: `subnet2`, for the conditioner that sees u2, and `subnet1`, for the one that sees v1.
      x: (B, ..., C).
      conditioner: `(params, u, channels) -> (B, ..., parameters * channels)`, any function: it is never inverted.
      condition: arrays of the same batch, which the conditioner takes as its fourth argument; or None.
      clamp: bound of |s| of the affine transformer; None leaves s as it comes.
      split: what the first part is, see `parts.Split`; None: half of the channels.
      transformer: what happens to each element; None: `affine(clamp)`, 2 parameters an element, s and t.

    Returns:
      (y, log_det), shaped as x and (B,).

    Raises:
      TypeError: `x` holds integers.
      ValueError: fewer than two channels, a split that does not fit, or a conditioner whose output does not.
    """
    both = coupling(conditioner, clamp=clamp, split=split, transformer=transformer)
    return both.forward(params, x, condition)


def coupling_inverse(
    params: Params,
    y: jax.Array,
    conditioner: Conditioner,
    *,
    condition: Condition = None,
    clamp: float | None = CLAMP,
    split: Split = None,
    transformer: Transformer | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The exact inverse of `coupling_forward`, same arguments; returns (x, log_det of ∂x/∂y).

    Args:
      y: (B, ..., C), floats.
      params, conditioner, condition, clamp, split, transformer: see `coupling_forward`.
    """
    both = coupling(conditioner, clamp=clamp, split=split, transformer=transformer)
    return both.inverse(params, y, condition)


def coupling(
    conditioner: Conditioner,
    conditioner_init: ConditionerInit = no_conditioner_params,
    *,
    clamp: float | None = CLAMP,
    split: Split = None,
    transformer: Transformer | None = None,
) -> Bijection:
    """A two-sided coupling as a Bijection: two one-sided ones, each part moving once.

    Args:
      conditioner: see `coupling_forward`.
      conditioner_init: `(key, u, channels) -> params`, and a condition where there is one; the default is for a
        conditioner without parameters.
      clamp: bound of |s| of the affine transformer, or None.
      split: what the first part is, see `parts.Split`.
      transformer: what happens to each element; None: `affine(clamp)`.
    """
    sides = tuple(
        half_coupling(conditioner, conditioner_init, clamp=clamp, split=split, swap=swap, transformer=transformer)
        for swap in (False, True)
    )
    back = reversed_members(sides)
    return Bijection(
        functools.partial(_sides_init, sides),
        described(functools.partial(_sides_forward, sides, NAMES), coupling_forward),
        described(functools.partial(_sides_forward, back, NAMES[::-1]), coupling_inverse),
        functools.partial(_sides_pullback, sides, NAMES),
        functools.partial(_sides_pullback, back, NAMES[::-1]),
    )
