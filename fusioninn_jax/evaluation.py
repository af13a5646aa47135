"""Running a model over a split, on all local devices."""
from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from fusioninn_jax import input_pipeline, parallel
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
    totals: dict[str, float] = {}
    count, examples = 0.0, dict[str, np.ndarray]()
    for batch, results in run_over(model, variables, prepared, config, devices, split=split, with_images=True):
        weight = batch["weight"]
        count += float(weight.sum())
        for name, values in results.items():
            if values.ndim == 1:
                totals[name] = totals.get(name, 0.0) + float((values * weight).sum())
        if not examples:
            examples = {name: images[:PANEL_IMAGES] for name, images in results.items() if images.ndim == 4}
            examples["sources"] = batch["sources"][:PANEL_IMAGES]
    return Results({name: total / count for name, total in totals.items()}, examples)
