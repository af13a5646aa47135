"""Running a model over a split, on all devices of all processes."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.experimental import multihost_utils

from fusioninn_jax import input_pipeline, losses, objective
from fusioninn_jax.models import FusionModel, Variables
from fusioninn_jax.objective import salts
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.ssim import WINDOW
from fusioninn_jax.training import parallel

PANEL_IMAGES = 4


class Results(NamedTuple):
    """Outcome of an evaluation: the mean of every per-image value, and some images to look at."""

    means: dict[str, float]
    examples: dict[str, np.ndarray]


@functools.lru_cache(maxsize=8)
def _eval_step(
    model: FusionModel, config: ml_collections.FrozenConfigDict, devices: tuple[jax.Device, ...], with_images: bool
) -> parallel.EvalStep:
    return parallel.make_eval_step(model, config, list(devices), with_images=with_images)


def check_size(model: FusionModel, height: int, width: int, what: str, remedy: str) -> None:
    """Raises UserError where images are smaller than the window of SSIM, which all losses but a model's own look at.

    Args:
      model: the system.
      height, width: of the images, in pixels.
      what: they are, for the message.
      remedy: what to do about it.
    """
    if min(height, width) < WINDOW and model.train_loss is None:
        raise UserError(f"{what} of {height}x{width} are smaller than the {WINDOW}x{WINDOW} window of SSIM; {remedy}")


def run_over(
    model: FusionModel,
    variables: Variables,
    prepared: input_pipeline.Prepared,
    config: ml_collections.ConfigDict,
    devices: list[jax.Device],
    *,
    split: str,
    with_images: bool = False,
    image_batches: float = math.inf,
) -> Iterator[tuple[input_pipeline.Batch, dict[str, np.ndarray]]]:
    """Yields (batch, per-image results) over a split, the last batch's filling (weight 0) included.

    Each process gets its own rows of every batch. The noise of a slice depends on the seed and the slice's number in
    the split alone.

    Args:
      model: the system.
      variables: its variables.
      prepared: the dataset.
      config: the whole configuration.
      devices: of all processes, process by process.
      split: which one.
      with_images: yield images beside the scores.
      image_batches: so many batches, the first, yield images; those of the others stay on the devices.

    Raises:
      UserError: no such split, or slices too small for SSIM.
    """
    read = ml_collections.FrozenConfigDict({"losses": config.losses})
    step = _eval_step(model, read, tuple(devices), with_images)
    key = jax.random.fold_in(jax.random.key(config.seed), salts.VALIDATION)
    batches = input_pipeline.evaluation_batches(
        prepared,
        config.data,
        split,
        batch_size=config.train.eval_batch_size,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    own = len(parallel.own_devices(devices))
    for number, batch in enumerate(batches):
        height, width = batch["sources"].shape[1:3]
        check_size(model, height, width, f"{config.data.dataset}: images of the split {split}", "leave such images out")
        slices = objective.slices_of(batch)
        slices, numbers = parallel.split_batch((slices, batch["number"].astype(np.uint32)), own)
        results = step(variables, slices, numbers, key)
        if number >= image_batches:
            results = {name: values for name, values in results.items() if values.ndim == 2}  # (devices, own of each)
        yield batch, parallel.merge_batch(results)


def _whole_batches(batches: list[np.ndarray]) -> np.ndarray:
    """One process's rows of each batch, (own,) each -> (batches, B) of all processes."""
    own = np.stack(batches)
    if jax.process_count() == 1:
        return own
    return np.concatenate(list(multihost_utils.process_allgather(own)), axis=1)


def validate(
    model: FusionModel,
    variables: Variables,
    prepared: input_pipeline.Prepared,
    config: ml_collections.ConfigDict,
    devices: list[jax.Device],
    split: str = "validation",
    interrupted: Callable[[], bool] = lambda: False,
    compiling: contextlib.AbstractContextManager[object] | None = None,
) -> Results | None:
    """Mean of every per-image value over a split; falls back on the training split where there is no such split.

    Args:
      model: the system.
      variables: its variables.
      prepared: the dataset.
      config: the whole configuration.
      devices: of all processes, process by process; all of them evaluate, and get the same means.
      split: which one.
      interrupted: asked after each batch.
      compiling: entered while the first batch, which compiles, is evaluated.

    Returns:
      the means over all processes, and images of this one; None where it was interrupted.
    """
    split = split if prepared.sizes.get(split) else "train"
    columns: dict[str, list[np.ndarray]] = {"weight": []}
    examples: dict[str, np.ndarray] = {}
    over = run_over(model, variables, prepared, config, devices, split=split, with_images=True, image_batches=1)
    with compiling or contextlib.nullcontext():
        first = next(over)
    for batch, results in itertools.chain([first], over):
        columns["weight"].append(batch["weight"])
        for name, values in results.items():
            if values.ndim == 1:
                columns.setdefault(name, []).append(values)
        if not examples:
            examples = {name: images[:PANEL_IMAGES] for name, images in results.items() if images.ndim == 4}
            examples["sources"] = batch["sources"][:PANEL_IMAGES]
        if interrupted():
            return None
    means = _means({name: _whole_batches(values) for name, values in columns.items()})
    names = ("fusion", "decomposition", "latent_loss", "background")
    parts = losses.LossParts(*[jnp.float32(means[name]) for name in names])
    return Results({"loss": float(objective.per_image_loss(model, parts, config.losses)), **means}, examples)


def _means(columns: dict[str, np.ndarray]) -> dict[str, float]:
    """The weighted mean of each column, (batches, B)."""
    weight = columns.pop("weight")
    means = {name: float(np.average(values, weights=weight)) for name, values in columns.items()}
    full = weight.min(axis=1) > 0
    if full.any():  # copies in a filled-up batch would be mistaken for a property of the latent
        means["latent_loss"] = float(np.average(columns["latent_loss"][full]))
    return means
