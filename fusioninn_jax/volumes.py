"""Whole volumes through a FusionModel: normalise, fuse, decompose, bring back to the units of the sources.

Volumes are (Z, H, W), axial slices along the first axis; the model sees each slice alone, as in training. Every slice
of every source is brought to [0, 1] by its own minimum and maximum, which are kept (`ranges`); a constant slice
becomes 0 and comes back as that constant. Height and width are padded to what the model needs by repeating the last
row and column, and cropped back. Pure functions, compiled once for each shape.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import losses, objective
from fusioninn_jax.models import FusionModel, Variables
from fusioninn_jax.models.padding import pad_slices

Array = jax.Array | np.ndarray
Moments = tuple[jax.Array, jax.Array]  # mean, and sum of squared deviations
ACCELERATOR_BATCH = 16  # slices at a time; on a CPU one by one is three times faster, it stays in the cache


@flax.struct.dataclass
class FusedVolume:
    """What a flow makes of a study.

    Attributes:
      whole: (Z, H', W') fused slices, padded: H' and W' are the next multiples of `model.multiple`.
      ranges: (Z, m, 2) minimum and maximum of each slice of each source, in its units.
      latent: (Z, H', W', m - 1), or None where the system has none or it was not kept.
      size: (H, W) before padding.
    """

    whole: Array
    ranges: Array
    latent: Array | None
    size: tuple[int, int] = flax.struct.field(pytree_node=False)

    @property
    def fused(self) -> Array:
        """(Z, H, W), about [0, 1]; a raw fused image may leave it by a hundredth."""
        return self.whole[:, : self.size[0], : self.size[1]]


def from_fused(fused: Array, ranges: Array, multiple: int) -> FusedVolume:
    """A FusedVolume from the fused image alone, as read from a file: without its latent.

    Args:
      fused: (Z, H, W), about [0, 1].
      ranges: (Z, m, 2) of the sources, in their units.
      multiple: of the model.
    """
    _, height, width = fused.shape
    return FusedVolume(pad_slices(jnp.asarray(fused), multiple), ranges, None, (height, width))


def fuse_volume(
    model: FusionModel, variables: Variables, *volumes: jax.Array, batch_size: int | None = None
) -> FusedVolume:
    """Fuses the volumes of a study, slice by slice.

    Args:
      model: the system.
      variables: its variables; their float type is the one computed in.
      volumes: m sources (Z, H, W) on one grid, finite, of any real type and unit.
      batch_size: slices at a time; None for what suits the device.

    Raises:
      ValueError: volumes of different shapes or that are not 3-D, or another number of them than the model takes.
    """
    shapes = [jnp.shape(volume) for volume in volumes]
    if len(set(shapes)) != 1 or len(shapes[0]) != 3:
        raise ValueError(f"sources must be (Z, H, W) of one shape; got {', '.join(map(str, shapes))}")
    if model.sources not in (None, len(volumes)):
        raise ValueError(f"the model takes {model.sources} sources; got {len(volumes)}")
    return _fuse(model, variables, tuple(map(jnp.asarray, volumes)), _batch_size(batch_size))


@functools.partial(jax.jit, static_argnums=(0, 3))
def _fuse(model: FusionModel, variables: Variables, volumes: tuple[jax.Array, ...], batch_size: int) -> FusedVolume:
    stack = jnp.stack([volume.astype(_dtype(variables)) for volume in volumes], -1)
    low, high = stack.min((1, 2)), stack.max((1, 2))
    ranges = jnp.stack([low, high], -1)
    stack = pad_slices(stack, model.multiple)

    def fuse_slice(pair: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array | None]:
        image, (low, high) = pair[0], jnp.moveaxis(pair[1], -1, 0)
        span = jnp.where(high > low, high - low, 1)
        unit = (image - low[None, None]) / span[None, None]
        fused, latent = model.fuse(variables, *objective.split_sources(unit[None]))
        return fused[0, ..., 0], None if latent is None else latent[0]

    whole, latent = jax.lax.map(fuse_slice, (stack, ranges), batch_size=min(batch_size, len(stack)))
    return FusedVolume(whole, ranges, latent, (volumes[0].shape[1], volumes[0].shape[2]))


def _dtype(variables: Variables) -> jnp.dtype:
    leaves = jax.tree.leaves(variables)
    return jnp.result_type(*leaves) if leaves else jnp.dtype(jnp.float32)


def decompose_volume(
    model: FusionModel,
    variables: Variables,
    volume: FusedVolume,
    *,
    key: jax.Array | None = None,
    prior: str = "normal",
    numbers: jax.Array | None = None,
    batch_size: int | None = None,
) -> jax.Array:
    """The sources back from a fused volume, in their units.

    Args:
      model: the system; it must be able to decompose.
      variables: its variables, those that fused.
      volume: with its latent, or with None for a fresh one drawn from the prior.
      key: draws the fresh latent; each slice folds its number into it.
      prior: see `losses.LATENT_PRIORS`.
      numbers: (Z,) of the slices, where `volume` is a part of one; None for 0, 1, ...
      batch_size: slices at a time; None for what suits the device.

    Returns:
      (m, Z, H, W).

    Raises:
      ValueError: a system that cannot decompose, or neither a latent nor a key.
    """
    if volume.latent is None and key is None:
        raise ValueError("decompose_volume needs the true latent or a key to draw a fresh one")
    how = _how(model, prior, batch_size)
    return _decompose(how, variables, volume, key, _numbers(volume, numbers))


def decompose_samples(
    model: FusionModel,
    variables: Variables,
    volume: FusedVolume,
    *,
    key: jax.Array,
    samples: int,
    prior: str = "normal",
    numbers: jax.Array | None = None,
    batch_size: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation, voxel by voxel, over `samples` decompositions with fresh latents.

    The deviation is that of the drawn set (divided by their number).

    Args:
      model: the system; it must be able to decompose.
      variables: its variables, those that fused.
      volume: fused; its latent is not used.
      key: draws the latents.
      samples: how many.
      prior, numbers, batch_size: as for `decompose_volume`.

    Returns:
      two arrays (m, Z, H, W), in the units of the sources.

    Raises:
      ValueError: a system that cannot decompose.
    """
    how, alone = _how(model, prior, batch_size), dataclasses.replace(volume, latent=None)
    return _samples(how, variables, alone, jax.random.split(key, samples), _numbers(volume, numbers))


def _numbers(volume: FusedVolume, given: jax.Array | None) -> jax.Array:
    return jnp.arange(len(volume.whole)) if given is None else given


def _batch_size(asked: int | None) -> int:
    return asked or (1 if jax.default_backend() == "cpu" else ACCELERATOR_BATCH)


class _How(NamedTuple):
    """What decomposition compiles anew for."""

    decompose: Callable[..., tuple[jax.Array, ...]]
    prior: str
    batch_size: int


def _how(model: FusionModel, prior: str, batch_size: int | None) -> _How:
    if model.decompose is None:
        raise ValueError("this system fuses only; it cannot decompose")
    return _How(model.decompose, prior, _batch_size(batch_size))


@functools.partial(jax.jit, static_argnums=0)
def _decompose(
    how: _How, variables: Variables, volume: FusedVolume, key: jax.Array | None, numbers: jax.Array
) -> jax.Array:
    height, width = volume.size

    def decompose_slice(item: tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]) -> jax.Array:
        number, fused, ranges, latent = item
        fused = fused.astype(_dtype(variables))[None, ..., None]
        if latent is None:
            assert key is not None
            shape = (*fused.shape[1:3], ranges.shape[0] - 1)
            latent = losses.sample_prior(how.prior, jax.random.fold_in(key, number), shape, fused.dtype)
        sources = how.decompose(variables, fused, latent[None].astype(fused.dtype))
        images = jnp.concatenate(sources, -1)[0, :height, :width]
        low, high = jnp.moveaxis(ranges, -1, 0)
        return low[None, None] + images * (high - low)[None, None]

    count = len(volume.whole)
    items = (numbers, volume.whole, volume.ranges, volume.latent)
    return jnp.moveaxis(jax.lax.map(decompose_slice, items, batch_size=min(how.batch_size, count)), -1, 0)


@functools.partial(jax.jit, static_argnums=0)
def _samples(
    how: _How, variables: Variables, volume: FusedVolume, keys: jax.Array, numbers: jax.Array
) -> tuple[jax.Array, jax.Array]:
    def add(moments: Moments, item: tuple[jax.Array, jax.Array]) -> tuple[Moments, None]:
        (mean, squares), (before, key) = moments, item
        draw = _decompose(how, variables, volume, key, numbers)
        step = draw - mean  # Welford's update: no cancellation in float32
        mean = mean + step / (before + 1)
        return (mean, squares + step * (draw - mean)), None

    count = len(keys)
    zeros = jnp.zeros((volume.ranges.shape[1], len(volume.whole), *volume.size), _dtype(variables))
    (mean, squares), _ = jax.lax.scan(add, (zeros, zeros), (jnp.arange(count), keys))
    return mean, jnp.sqrt(squares / count)
