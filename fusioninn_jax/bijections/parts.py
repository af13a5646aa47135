"""Which elements a coupling moves, and which it looks at.

A split is what a user writes; `parts_of` makes of it, for arrays of a shape, the parts: channels, or a mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax.bijections.permutation import permutation_forward, permutation_inverse

# Of what the first part consists: a number of channels, a share of them, the channels themselves, a mask of the
# channels, (C,), or a mask of all elements of an example, (..., C). None: the first half of the channels.
Split = int | float | Sequence[int] | np.ndarray | None


class Channels(NamedTuple):
    """Parts that are channels: of `order`, the first `number` move and the conditioner sees the rest."""

    order: np.ndarray
    number: int

    def swapped(self) -> Channels:
        """The same parts, the other one moving."""
        return Channels(np.roll(self.order, -self.number), len(self.order) - self.number)

    def separated(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What moves and what is seen of `x`, (B, ..., C)."""
        ordered, _ = permutation_forward(self.order, x)
        return ordered[..., : self.number], ordered[..., self.number :]

    def joined(self, moving: jax.Array, seen: jax.Array) -> jax.Array:
        """The array of which `separated` gives `moving` and `seen`."""
        if (np.diff(np.roll(self.order, -self.number)) == 1).all():  # the moving part is the end
            return jnp.concatenate([seen, moving], -1)
        return permutation_inverse(self.order, jnp.concatenate([moving, seen], -1))[0]

    def only_moving(self, values: jax.Array) -> jax.Array:
        """`values` as they are: they belong to moving channels alone."""
        return values


class Mask(NamedTuple):
    """Parts that are elements of an example: where `mask` is true they move. Both parts keep the whole shape."""

    mask: np.ndarray

    def swapped(self) -> Mask:
        """The same parts, the other one moving."""
        return Mask(~self.mask)

    def separated(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """What moves and what is seen of `x`, (B, ..., C), zeros elsewhere."""
        return jnp.where(self.mask[None], x, 0), jnp.where(self.mask[None], 0, x)

    def joined(self, moving: jax.Array, seen: jax.Array) -> jax.Array:
        """The array of which `separated` gives `moving` and `seen`."""
        return jnp.where(self.mask[None], moving, seen)

    def only_moving(self, values: jax.Array) -> jax.Array:
        """`values` where the mask is true, zeros elsewhere."""
        return jnp.where(self.mask[None], values, 0)


def parts_of(split: Split, shape: tuple[int, ...]) -> Channels | Mask:
    """The parts that `split` makes of arrays of this `shape`, (B, ..., C), the first one moving.

    Raises:
      ValueError: fewer than two channels, or a split that does not fit or leaves a part empty.
    """
    channels = shape[-1]
    if channels < 2 and (split is None or np.ndim(split) < 2):
        raise ValueError(f"a coupling needs at least 2 channels on the last axis; got shape {shape}")
    mask = _mask_of(split, channels)
    if mask.shape not in ((channels,), shape[1:]):
        raise ValueError(f"a coupling's mask has shape {(channels,)} or {shape[1:]}; got {mask.shape}")
    if mask.all() or not mask.any():
        raise ValueError(f"split {split!r} leaves one part of {shape[1:]} empty")
    if mask.ndim > 1:
        return Mask(mask)
    return Channels(np.argsort(~mask, kind="stable"), int(mask.sum()))


def _mask_of(split: Split, channels: int) -> np.ndarray:
    """The first part as a mask, of the channels unless it is one of elements already."""
    given = np.asarray(channels // 2 if split is None else split)
    if given.dtype == bool:
        return given
    if given.ndim == 0:
        count = round(float(given) * channels) if given.dtype.kind == "f" else int(given)
        return np.arange(channels) < count
    named = given.ravel().tolist()
    if given.ndim > 1 or len(set(named)) < len(named) or not set(named) <= set(range(channels)):
        raise ValueError(f"split names channels below {channels}, each once, or is a mask of booleans; got {named}")
    return np.isin(np.arange(channels), given)
