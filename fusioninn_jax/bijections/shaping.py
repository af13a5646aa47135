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
    x = checked("identity", x)
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
    """Another shape for each example as a Bijection.

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


def _example(x: jax.Array, shape: Shape) -> jax.Array:
    return checked("split", x, f"(B, {', '.join(map(str, shape))})", lambda got: got[1:] == tuple(shape))


def _cut(y: jax.Array, shape: Shape, split: Split) -> tuple[jax.Array, jax.Array, jax.ShapeDtypeStruct]:
    """What left and what `inner` made, (B, ...) vectors both, and the shape of what `inner` took."""
    size = math.prod(shape)
    y = checked("the inverse of split", y, f"(B, {size})", lambda got: got[1:] == (size,))
    number = _parts(split, shape).number
    start = size - size // shape[-1] * number
    return y[:, :start], y[:, start:], jax.ShapeDtypeStruct((y.shape[0], *shape[:-1], number), y.dtype)


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
    stays, leaves = _parts(split, shape).separated(_example(x, shape))
    y, log_det = called(inner.forward, params, stays, condition=condition)
    return jnp.concatenate([_flat(leaves), _flat(y)], -1), log_det


def split_inverse(
    inner: Bijection, params: Params, y: jax.Array, condition: Condition = None, *, shape: Shape, split: Split = None
) -> tuple[jax.Array, jax.Array]:
    """The inverse of `split_forward`; returns (x, log_det of ∂x/∂y).

    Args:
      inner, params, condition, shape, split: see `split_forward`.
      y: the vectors that `split_forward` gives.
    """
    leaves, own, stays = _cut(y, shape, split)
    made, _ = jax.eval_shape(functools.partial(called, inner.forward), params, stays, condition=condition)
    x, log_det = called(inner.inverse, params, own.reshape(made.shape), condition=condition)
    return _parts(split, shape).joined(x, leaves.reshape(*stays.shape[:-1], shape[-1] - stays.shape[-1])), log_det


def _split_init(
    inner: Bijection, shape: Shape, split: Split, key: jax.Array, x: jax.Array, condition: Condition = None
) -> Params:
    """The params of `inner`."""
    stays, _ = _parts(split, shape).separated(_example(x, shape))
    return called(inner.init, key, stays, condition=condition)


def _split_inverse_init(
    inner: Bijection, shape: Shape, split: Split, key: jax.Array, y: jax.Array, condition: Condition = None
) -> Params:
    """The params of `inner`, from what it made."""
    _, own, stays = _cut(y, shape, split)

    def made(key: jax.Array, x: jax.Array, condition: Condition) -> jax.Array:
        return called(inner.forward, called(inner.init, key, x, condition=condition), x, condition=condition)[0]

    own = own.reshape(jax.eval_shape(made, key, stays, condition).shape)
    return called(inner.inverted().init, key, own, condition=condition)


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
    return Bijection(
        bound(_split_init, inner, shape, split),
        forward,
        inverse,
        inverse_init=bound(_split_inverse_init, inner, shape, split),
    )
