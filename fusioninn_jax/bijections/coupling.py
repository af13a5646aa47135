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
from typing import Any, NamedTuple, TypedDict, Unpack

import jax

from fusioninn_jax.bijections.base import (
    Bijection,
    Condition,
    Params,
    Result,
    bound,
    called,
    checked,
    each,
    sum_per_example,
)
from fusioninn_jax.bijections.chain import Steps, of_steps
from fusioninn_jax.bijections.parts import Channels, Mask, Split, parts_of
from fusioninn_jax.bijections.transformers import CLAMP, Transformer, affine

# (params, u (B, ..., c), channels[, condition]) -> (B, ..., parameters * channels), for a part of `channels` channels
Conditioner = Callable[..., jax.Array]
# (key, u, channels[, condition]) -> params of a conditioner that will see arrays like u
ConditionerInit = Callable[..., Params]


def no_conditioner_params(key: jax.Array, u: jax.Array, channels: int, condition: Condition = None) -> Params:
    """The init of a conditioner without parameters: an empty dict, whatever `key`, `u`, `channels`, `condition` are."""
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


def _init(
    half: _Half, conditioner_init: ConditionerInit, key: jax.Array, x: jax.Array, condition: Condition = None
) -> Params:
    """The conditioner's params."""
    x = _checked(x)
    moving, seen = half.parts(x).separated(x)
    return called(conditioner_init, key, seen, moving.shape[-1], condition=condition)


class Settings(TypedDict, total=False):
    """What `coupling` and `half_coupling` take beside the conditioner."""

    clamp: float | None
    split: Split
    transformer: Transformer | None


def half_coupling_forward(
    params: Params,
    x: jax.Array,
    conditioner: Conditioner,
    *,
    condition: Condition = None,
    swap: bool = False,
    **settings: Unpack[Settings],
) -> tuple[jax.Array, jax.Array]:
    """The one-sided coupling of (B, ..., C); the first part moves and the conditioner sees the rest.

    Args:
      params: the conditioner's.
      x, conditioner, condition: as for `coupling_forward`, which names the errors too.
      swap, settings: as for `half_coupling`.

    Returns:
      (y, log_det), shaped as x and (B,).
    """
    return half_coupling(conditioner, swap=swap, **settings).forward(params, x, condition)


def half_coupling_inverse(
    params: Params,
    y: jax.Array,
    conditioner: Conditioner,
    *,
    condition: Condition = None,
    swap: bool = False,
    **settings: Unpack[Settings],
) -> tuple[jax.Array, jax.Array]:
    """The exact inverse of `half_coupling_forward`; returns (x, log_det of ∂x/∂y).

    Args:
      y: (B, ..., C), floats.
      params, conditioner, condition, swap, settings: see `half_coupling_forward`.
    """
    return half_coupling(conditioner, swap=swap, **settings).inverse(params, y, condition)


def half_coupling(
    conditioner: Conditioner,
    conditioner_init: ConditionerInit = no_conditioner_params,
    *,
    clamp: float | None = CLAMP,
    split: Split = None,
    swap: bool = False,
    transformer: Transformer | None = None,
) -> Bijection:
    """A one-sided coupling as a Bijection; params: the conditioner's.

    Args:
      swap: the rest moves and the conditioner sees the first part.
      conditioner, conditioner_init, clamp, split, transformer: as for `coupling`, which names the errors too.
    """
    for given in (conditioner, conditioner_init):
        if not callable(given):
            raise TypeError(f"a coupling takes a conditioner and its init, two functions; got {type(given).__name__}")
    if not isinstance(transformer, Transformer | None):
        raise TypeError(f"a coupling takes a Transformer, such as affine(); got {type(transformer).__name__}")
    half = _Half(conditioner, transformer or affine(clamp), split, swap)
    back = half.inverted()
    return Bijection(
        bound(_init, half, conditioner_init),
        bound(_forward, half, by=half_coupling_forward),
        bound(_forward, back, by=half_coupling_inverse),
        bound(_pullback, half),
        bound(_pullback, back),
    )


SIDES = ("subnet2", "subnet1")  # the conditioners' params, in the order of use


def _sides_init(
    sides: tuple[Bijection, ...], key: jax.Array, x: jax.Array, condition: Condition = None
) -> dict[str, Params]:
    """The params of both conditioners."""
    key1, key2 = jax.random.split(key)  # subnet1's is the first
    return {
        name: called(side.init, own_key, x, condition=condition)
        for name, side, own_key in zip(SIDES, sides, (key2, key1), strict=True)
    }


def coupling_forward(
    params: Params, x: jax.Array, conditioner: Conditioner, *, condition: Condition = None, **settings: Unpack[Settings]
) -> tuple[jax.Array, jax.Array]:
    """The two-sided coupling of (B, ..., C), C ≥ 2.

    Args:
      params: `subnet2`, for the conditioner that sees u2, and `subnet1`, for the one that sees v1.
      x: (B, ..., C).
      conditioner: `(params, u, channels) -> (B, ..., parameters * channels)`, any function: it is never inverted.
      condition: arrays of the same batch, which the conditioner takes as its fourth argument; or None.
      settings: `clamp`, `split` and `transformer`, as for `coupling`.

    Returns:
      (y, log_det), shaped as x and (B,).

    Raises:
      TypeError: `x` holds integers.
      ValueError: fewer than two channels, a split that does not fit, or a conditioner whose output does not.
    """
    return coupling(conditioner, **settings).forward(params, x, condition)


def coupling_inverse(
    params: Params, y: jax.Array, conditioner: Conditioner, *, condition: Condition = None, **settings: Unpack[Settings]
) -> tuple[jax.Array, jax.Array]:
    """The exact inverse of `coupling_forward`; returns (x, log_det of ∂x/∂y).

    Args:
      y: (B, ..., C), floats.
      params, conditioner, condition, settings: see `coupling_forward`.
    """
    return coupling(conditioner, **settings).inverse(params, y, condition)


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
      conditioner: `(params, u, channels) -> (B, ..., parameters * channels)`, or with a condition as a fourth argument.
      conditioner_init: `(key, u, channels) -> params`, and a condition where there is one; the default is for a
        conditioner without parameters.
      clamp: bound of |s| of the affine transformer; None leaves s as it comes.
      split: what the first part is, see `parts.Split`; None: half of the channels.
      transformer: what happens to each element; None: `affine(clamp)`, 2 parameters an element, s and t.

    Raises:
      TypeError: a conditioner or an init that is no function, a transformer that is none.
    """
    settings: Settings = {"clamp": clamp, "split": split, "transformer": transformer}
    sides = tuple(half_coupling(conditioner, conditioner_init, swap=swap, **settings) for swap in (False, True))
    return of_steps(Steps(sides, SIDES), bound(_sides_init, sides), None, "stored", coupling_forward, coupling_inverse)
