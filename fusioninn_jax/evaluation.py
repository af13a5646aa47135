"""Running a model over a split, on all local devices."""
from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fusioninn_jax import input_pipeline, losses, objective, parallel
from fusioninn_jax.models import FusionModel

PANEL_IMAGES = 4


class Results(NamedTuple):
    """Outcome of an evaluation: the mean of every per-image value, and some images to look at."""

    means: dict[str, float]
    examples: dict[str, np.ndarray]


@functools.lru_cache(maxsize=8)
def _eval_step(model: FusionModel, config: ml_collections.FrozenConfigDict, devices: tuple[jax.Device, ...],
               with_images: bool) -> Any:
    return parallel.make_eval_step(model, config, list(devices), with_images=with_images)


def run_over(model: FusionModel, variables: Any, prepared: input_pipeline.Prepared,
             config: ml_collections.ConfigDict, devices: list[jax.Device], *, split: str,
             with_images: bool = False) -> Iterator[tuple[input_pipeline.Batch, dict[str, np.ndarray]]]:
    """Yields (batch, per-image results) over a split, the last batch's filling (weight 0) included.

    The noise of a slice depends on the seed and the slice's number in the split alone.
    """
    step = _eval_step(model, ml_collections.FrozenConfigDict(config), tuple(devices), with_images)
    key = jax.random.fold_in(jax.random.key(config.seed), np.uint32(2**32 - 2))
    batches = input_pipeline.evaluation_batches(prepared, config.data, split, multiple=model.multiple,
                                                batch_size=config.train.eval_batch_size)
    for batch in batches:
        stack, numbers = parallel.split_batch((batch["sources"], batch["number"].astype(np.uint32)), len(devices))
        yield batch, parallel.merge_batch(step(variables, stack, numbers, key))


def validate(model: FusionModel, variables: Any, prepared: input_pipeline.Prepared,
             config: ml_collections.ConfigDict, devices: list[jax.Device], split: str = "validation") -> Results:
    """Mean of every per-image value over a split; falls back on the training split where there is no such split.

    Args:
      model: the system.
      variables: its variables.
      prepared: the dataset.
      config: the whole configuration.
      devices: this process's devices.
      split: which one.
    """
    split = split if split in prepared.sizes else "train"
    columns: dict[str, list[np.ndarray]] = {}
    weights, full, examples = [], [], dict[str, np.ndarray]()
    for batch, results in run_over(model, variables, prepared, config, devices, split=split, with_images=True):
        weights.append(batch["weight"])
        full.append(np.full(len(batch["weight"]), batch["weight"].min()))
        for name, values in results.items():
            if values.ndim == 1:
                columns.setdefault(name, []).append(values)
        if not examples:
            examples = {name: images[:PANEL_IMAGES] for name, images in results.items() if images.ndim == 4}
            examples["sources"] = batch["sources"][:PANEL_IMAGES]
    weight, full_weight = np.concatenate(weights), np.concatenate(full)
    means = {name: float(np.average(np.concatenate(values), weights=weight)) for name, values in columns.items()}
    if full_weight.any():  # copies in a filled-up batch would be mistaken for a property of the latent
        means["latent_loss"] = float(np.average(np.concatenate(columns["latent_loss"]), weights=full_weight))
    names = ("fusion", "decomposition", "latent_loss", "background")
    parts = losses.LossParts(*[jnp.float32(means[name]) for name in names])
    return Results({"loss": float(objective.per_image_loss(model, parts, config.losses)), **means}, examples)
