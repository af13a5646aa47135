"""Maps that only rearrange: the identity, another shape, and a split off which elements leave before the others.

`split(inner, shape)` sends the first part of the channels through `inner` and leaves the rest as it is; the result is a
vector, what left first, then what `inner` made, so that one base distribution serves for all. Nested in a chain it is
the multi-scale architecture; what leaves is conditioned on what stays by a `half_coupling` before it.
log-det = 0, 0, and that of `inner`.
Source: Dinh et al. 2016, "Density estimation using Real NVP", section 3.6.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections.base import (
    Bijection,
    Condition,
    Params,
    bound,
    called,
    checked,
    checked_bijections,
    no_log_det,
    parameterless,
)
from fusioninn_jax.bijections.parts import Channels, Split, parts_of

Shape = tuple[int, ...]


def identity_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """y = x; returns (x, zeros (B,)).

    Args:
      x: (B, ...), floats.

    Raises:
      TypeError: `x` holds integers.
    """
    x = checked("identity", x, "(B, ...)", lambda shape: True)
    return x, no_log_det(x)


def identity() -> Bijection:
    """The map that changes nothing, as a Bijection."""
    return parameterless(identity_forward, identity_forward)


def reshape_forward(x: jax.Array, *, before: Shape, after: Shape) -> tuple[jax.Array, jax.Array]:
    """(B, *before) -> (B, *after), elements in their order; returns (y, zeros (B,)).

    Args:
      x: (B, *before), floats.
      before: of an example, without the batch.
      after: likewise; of the same size.

    Raises:
      TypeError: `x` holds integers.
      ValueError: another shape than `before`.
    """
    expected = f"(B, {', '.join(map(str, before))})"
    x = checked("reshape", x, expected, lambda shape: shape[1:] == tuple(before))
    return x.reshape(x.shape[0], *after), no_log_det(x)


def reshape(before: Shape, after: Shape) -> Bijection:
    """Another shape for each example as a Bijection; `before` and `after` leave out the batch.

    Args:
      before: of an example, without the batch.
      after: likewise; of the same size.

    Raises:
      ValueError: shapes of different sizes.
    """
    if math.prod(before) != math.prod(after):
        raise ValueError(f"reshape cannot make {after} of {before}: the sizes differ")
    return parameterless(
        bound(reshape_forward, before=before, after=after), bound(reshape_forward, before=after, after=before)
    )


def _parts(split: Split, shape: Shape) -> Channels:
    parts = parts_of(split, (1, *shape))
    if not isinstance(parts, Channels):
        raise ValueError("split takes channels off; got a mask of elements")
    return parts


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], math.prod(x.shape[1:]))


def split_forward(
    inner: Bijection, params: Params, x: jax.Array, condition: Condition = None, *, shape: Shape, split: Split = None
) -> tuple[jax.Array, jax.Array]:
    """(B, *shape) -> (B, D): the channels that leave, then what `inner` made of the others; returns (y, log_det).

    Args:
      inner: the bijection of the channels that stay.
      params: its params.
      x: (B, *shape).
      condition: None, or arrays of the same batch, for `inner`.
      shape: that of an example.
      split: the channels that stay, see `parts.Split`; None: the first half.

    Raises:
      TypeError: `x` holds integers.
      ValueError: another shape, or a split that does not fit it.
    """
    x = checked("split", x, f"(B, {', '.join(map(str, shape))})", lambda got: got[1:] == tuple(shape))
    stays, leaves = _parts(split, shape).separated(x)
    y, log_det = called(inner.forward, params, stays, condition=condition)
    return jnp.concatenate([_flat(leaves), _flat(y)], -1), log_det


def split_inverse(
    inner: Bijection, params: Params, y: jax.Array, condition: Condition = None, *, shape: Shape, split: Split = None
) -> tuple[jax.Array, jax.Array]:
    """The inverse of `split_forward`, same arguments; returns (x, log_det of ∂x/∂y).

    Args:
      inner, params, condition, shape, split: see `split_forward`.
      y: the vectors that `split_forward` gives.
    """
    size = math.prod(shape)
    y = checked("the inverse of split", y, f"(B, {size})", lambda got: got[1:] == (size,))
    parts = _parts(split, shape)
    number = size // shape[-1] * parts.number
    stays = jax.ShapeDtypeStruct((y.shape[0], *shape[:-1], parts.number), y.dtype)
    made, _ = jax.eval_shape(functools.partial(called, inner.forward), params, stays, condition=condition)
    x, log_det = called(inner.inverse, params, y[:, size - number :].reshape(made.shape), condition=condition)
    leaves = y[:, : size - number].reshape(y.shape[0], *shape[:-1], shape[-1] - parts.number)
    return parts.joined(x, leaves), log_det


def _split_init(
    inner: Bijection, shape: Shape, split: Split, key: jax.Array, x: jax.Array, condition: Condition = None
) -> Params:
    """The params of `inner`."""
    return called(inner.init, key, _parts(split, shape).separated(x)[0], condition=condition)


def split(inner: Bijection, shape: Shape, *, split: Split = None) -> Bijection:
    """A split as a Bijection from (B, *shape) to (B, D); its params are those of `inner`.

    Args:
      inner: the bijection of the channels that stay; a chain that ends in another split, for more scales.
      shape: that of an example, without the batch.
      split: the channels that stay, see `parts.Split`; None: the first half.

    Raises:
      TypeError: an `inner` that is no Bijection.
      ValueError: a split that does not fit the shape.
    """
    checked_bijections("split", inner)
    _parts(split, shape)
    forward, inverse = (bound(function, inner, shape=shape, split=split) for function in (split_forward, split_inverse))
    return Bijection(bound(_split_init, inner, shape, split), forward, inverse)
