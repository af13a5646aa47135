"""Volumes some slices at a time, shared out among the devices of this process: fused, decomposed, sampled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import volumes
from fusioninn_jax.models import FusionModel, Variables
from fusioninn_jax.runtime import cores, progress
from fusioninn_jax.training import parallel
from fusioninn_jax.volumes import FusedVolume

PART = 16  # slices a device takes at a time: enough to keep it busy, few enough to tell how it goes
Result = TypeVar("Result")
Constant = tuple[Variables, jax.Array]  # variables of the model, key of the latents


def run(
    function: Callable[..., Result],
    constant: object,
    *batches: object,
    what: str,
    done: Callable[[int], object] | None = None,
) -> Result:
    """A mapped function over (Z, ...) arrays, some slices at a time; the last part fills up what the devices take.

    Args:
      function: of `parallel.make_map`, such as those below.
      constant: its first argument.
      batches: the others, trees of arrays.
      what: is done, for the bar.
      done: told the number of slices of each part that is done, instead of a bar.

    Returns:
      A tree of NumPy arrays (Z, ...).
    """
    devices, count = len(jax.local_devices()), len(jax.tree.leaves(batches)[0])
    size = devices * min(PART, -(-count // devices))  # one shape, one compilation

    def run_part(start: int) -> Result:
        places = np.minimum(np.arange(start, start + size), count - 1)
        split = [
            parallel.split_batch(jax.tree.map(lambda x: np.asarray(x)[places], batch), devices) for batch in batches
        ]
        part = jax.tree.map(lambda x: x[: count - start], parallel.merge_batch(function(constant, *split)))
        tell(min(size, count - start))
        return part

    with progress.bar(count, what, "slices", brief=True) as bar, ThreadPoolExecutor(_parts_at_once()) as pool:
        tell = done or bar.update
        parts = list(pool.map(run_part, range(0, count, size)))
    return jax.tree.map(lambda *of: np.concatenate(of), *parts)


def _parts_at_once() -> int:
    """On a CPU one part a core, since a slice's operations are too small to share; elsewhere one."""
    return cores.usable() if jax.default_backend() == "cpu" and len(jax.local_devices()) == 1 else 1


@functools.lru_cache(maxsize=8)
def fuse(model: FusionModel) -> Callable[..., FusedVolume]:
    """`(variables, *sources) -> FusedVolume` of a `model`, for `run`."""
    return parallel.make_map(
        lambda variables, *sources: volumes.fuse_volume(model, variables, *sources), jax.local_devices()
    )


@functools.lru_cache(maxsize=8)
def decompose(model: FusionModel, prior: str) -> Callable[..., np.ndarray]:
    """`((variables, key), volume, numbers) -> (Z, m, H, W)` of a `model` whose latent has this `prior`, for `run`."""

    def decompose_part(constant: Constant, volume: FusedVolume, numbers: jax.Array) -> jax.Array:
        variables, key = constant
        sources = volumes.decompose_volume(model, variables, volume, key=key, prior=prior, numbers=numbers)
        return jnp.moveaxis(sources, 0, 1)

    return parallel.make_map(decompose_part, jax.local_devices())


@functools.lru_cache(maxsize=8)
def sample(model: FusionModel, prior: str, samples: int) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """As `decompose` of `model` and `prior`, but mean and deviation of so many `samples`, (Z, m, H, W) each."""

    def sample_part(constant: Constant, volume: FusedVolume, numbers: jax.Array) -> tuple[jax.Array, jax.Array]:
        variables, key = constant
        mean, deviation = volumes.decompose_samples(
            model, variables, volume, key=key, samples=samples, prior=prior, numbers=numbers
        )
        return jnp.moveaxis(mean, 0, 1), jnp.moveaxis(deviation, 0, 1)

    return parallel.make_map(sample_part, jax.local_devices())
