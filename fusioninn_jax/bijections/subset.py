"""A bijection on some of the channels, the others as they are.

Forward: y[..., channels] = f(x[..., channels]), all other channels of y are those of x; log-det that of f. What f sees
and moves are those channels alone, so it costs what they cost: of Haar coefficients for example the means, an image of
its own at a quarter of the size, which a small flow can take further down the pyramid.
"""

from __future__ import annotations

import jax
import numpy as np

from fusioninn_jax.bijections.base import (
    Bijection,
    Condition,
    Map,
    Params,
    Result,
    bound,
    called,
    checked,
    checked_bijections,
)
from fusioninn_jax.bijections.parts import Channels


def _separated(channels: tuple[int, ...], x: jax.Array) -> tuple[Channels, jax.Array, jax.Array]:
    """The parts of `x`, and what they hold: the chosen channels and the others."""
    last, expected = max(channels), f"(B, ..., C) with C > {max(channels)}"
    x = checked("on_channels", x, expected, lambda shape: len(shape) > 1 and shape[-1] > last)
    others = [channel for channel in range(x.shape[-1]) if channel not in channels]
    parts = Channels(np.array([*channels, *others]), len(channels))
    return parts, *parts.separated(x)


def _applied(inner: Map, channels: tuple[int, ...], params: Params, x: jax.Array, condition: Condition) -> Result:
    parts, chosen, others = _separated(channels, x)
    moved, log_det = called(inner, params, chosen, condition=condition)
    return parts.joined(moved, others), log_det


def on_channels_forward(
    params: Params, x: jax.Array, condition: Condition = None, *, inner: Bijection, channels: tuple[int, ...]
) -> Result:
    """`inner` on the chosen channels of (B, ..., C), the identity on the others.

    Args:
      params: of `inner`.
      x: (B, ..., C).
      condition: for `inner`.
      inner: a bijection that keeps the shape of what it takes.
      channels: which, without repetition.

    Returns:
      (y, log_det), shaped as x and (B,).

    Raises:
      TypeError: `x` holds integers.
      ValueError: `x` has no such channels.
    """
    return _applied(inner.forward, channels, params, x, condition)


def on_channels_inverse(
    params: Params, y: jax.Array, condition: Condition = None, *, inner: Bijection, channels: tuple[int, ...]
) -> Result:
    """The inverse of `on_channels_forward`; errors as there.

    Args:
      params, condition, inner, channels: see `on_channels_forward`.
      y: (B, ..., C), floats, as the forward map gives them.
    """
    return _applied(inner.inverse, channels, params, y, condition)


def _init(
    key: jax.Array, x: jax.Array, condition: Condition = None, *, inner: Bijection, channels: tuple[int, ...]
) -> Params:
    """The params of `inner`."""
    return called(inner.init, key, _separated(channels, x)[1], condition=condition)


def on_channels(inner: Bijection, channels: tuple[int, ...]) -> Bijection:
    """`inner` on some channels as a Bijection.

    Args:
      inner: what is done to those channels.
      channels: their numbers, from 0.

    Raises:
      TypeError: an `inner` that is no Bijection.
      ValueError: no channels, or one twice, or one below 0.
    """
    checked_bijections("on_channels", inner)
    if not channels or len(set(channels)) < len(channels) or min(channels) < 0:
        raise ValueError(f"on_channels takes distinct channels, 0 or above; got {channels}")
    init, forward, inverse = (
        bound(function, inner=inner, channels=tuple(channels))
        for function in (_init, on_channels_forward, on_channels_inverse)
    )
    back = bound(_init, inner=inner.inverted(), channels=tuple(channels))
    return Bijection(init, forward, inverse, inverse_init=back)
