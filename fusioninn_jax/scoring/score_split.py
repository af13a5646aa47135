"""Scores of every image of a split: of a model, or of a folder of images that another method fused.

The one path for `evaluate`, tables and sweeps. Several processes share the slices; all get all rows.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping
from typing import TypeVar

import jax
import ml_collections
import numpy as np
from PIL import Image
from tqdm import tqdm

from fusioninn_jax import input_pipeline, objective
from fusioninn_jax.anatomy import brain
from fusioninn_jax.formats import colour
from fusioninn_jax.objective import salts
from fusioninn_jax.runtime import outputs, processes
from fusioninn_jax.scoring import image_scores, lesion_scores, score_table
from fusioninn_jax.scoring.fused_images import FusedFolder, Range
from fusioninn_jax.scoring.score_table import Further
from fusioninn_jax.trained_model import TrainedModel
from fusioninn_jax.training import parallel

Sums = TypeVar("Sums", image_scores.LatentMoments, lesion_scores.PatientLevels)


@dataclasses.dataclass(frozen=True)
class Scoring:
    """What is scored, and how.

    Attributes:
      split: of the prepared dataset.
      metrics: a set of them, one of `image_scores.METRIC_SETS`.
      batch_size: over all devices of all processes.
      limit: score no more than about this many slices, evenly spread; 0: all.
      save_fused: keeps the fused images as 8-bit PNG, below it in a folder of each system's name; in colour where a
        source had some.
      fused_ranges: name of a method -> black and white of its images; '' is for all others.
    """

    split: str = "validation"
    metrics: str = "all"
    batch_size: int = 8
    limit: int = 0
    save_fused: pathlib.Path | None = None
    fused_ranges: Mapping[str, Range] = dataclasses.field(default_factory=dict)


def image_name(subject: str, slice_index: int) -> str:
    """The name, without ending, of a slice's fused image in a folder.

    Args:
      subject: as the dataset names it.
      slice_index: of the axial slice, from 0.
    """
    return f"{subject.replace('/', '_').replace(':', '_')}_{slice_index:03d}"


def _batches(
    prepared: input_pipeline.Prepared, data: ml_collections.ConfigDict, scoring: Scoring, system: str
) -> Iterator[input_pipeline.Batch]:
    """This process's rows of every batch, under a progress bar."""
    batches = input_pipeline.evaluation_batches(
        prepared,
        data,
        scoring.split,
        batch_size=scoring.batch_size,
        limit=scoring.limit,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    size = prepared.sizes.get(scoring.split, 0)
    count = -(-size // max(1, -(-size // scoring.limit))) if scoring.limit else size  # every so many-th slice
    total = -(-count // scoring.batch_size) or None
    progress = tqdm(
        batches, desc=f"{system}, compiling", unit=" batches", total=total, disable=not processes.is_first()
    )
    for number, batch in enumerate(progress):
        if number == 1:
            progress.set_description(system)
        yield batch


def _rows(
    system: str, batch: input_pipeline.Batch, results: dict[str, np.ndarray]
) -> list[tuple[int, score_table.Row]]:
    """The number in the split and the scores of each real image of a batch."""
    scores = {name: values for name, values in results.items() if values.ndim == 1}
    return [
        (
            int(batch["number"][i]),
            {
                "system": system,
                "subject": batch["subject"][i].decode(),
                "slice_index": int(batch["slice_index"][i]),
                **{name: float(values[i]) for name, values in scores.items()},
            },
        )
        for i in np.flatnonzero(batch["weight"])
    ]


def _of_all(rows: list[tuple[int, score_table.Row]]) -> list[score_table.Row]:
    """The rows of all processes, in the order of the split."""
    everyone = [numbered for of_process in processes.gather(rows) for numbered in of_process]
    return [row for _, row in sorted(everyone, key=lambda numbered: numbered[0])]


def score_model(
    system: str,
    trained: TrainedModel,
    prepared: input_pipeline.Prepared,
    data: ml_collections.ConfigDict,
    scoring: Scoring,
) -> tuple[list[score_table.Row], Further]:
    """Scores a model over the split on all devices.

    Args:
      system: its name in the rows.
      trained: the model; the noise of its latents follows from its configuration's seed.
      prepared: the dataset.
      data: `settings.DATA`, how the dataset is read.
      scoring: what is scored.

    Returns:
      the rows of all processes, and what is not of one image: moments of the `latent` in brain and background, and
      `conspicuity` of the tumour by patient, each {} where there is none.

    Raises:
      UserError: the devices don't divide the batch, or a fused image cannot be kept.
    """
    devices, model, config = jax.local_devices(), trained.model, trained.config
    parallel.check_batch(scoring.batch_size, jax.device_count(), "--batch-size")
    names = image_scores.METRIC_SETS[scoring.metrics]
    step = parallel.make_map(image_scores.make_score(model, names, trained.prior), devices)
    key = jax.random.fold_in(jax.random.key(config.seed), salts.SCORING)
    rows: list[tuple[int, score_table.Row]] = []
    moments = {"brain": image_scores.LatentMoments(), "background": image_scores.LatentMoments()}
    levels = lesion_scores.PatientLevels()
    for batch in _batches(prepared, data, scoring, system):
        split = parallel.split_batch((batch["sources"], batch["number"].astype(np.uint32), batch["mask"]), len(devices))
        results = parallel.merge_batch(step((trained.variables, key), *split))
        rows += _rows(system, batch, results)
        real = batch["weight"] > 0
        levels.add(_subjects(batch), results["levels"][real])
        if "latent" in results:
            inside = brain.inside(batch["sources"])
            moments["brain"].add(results["latent"][real], inside[real])
            moments["background"].add(results["latent"][real], ~inside[real])
        if scoring.save_fused:
            _save_fused(scoring.save_fused / system, batch, results["fused"])
    summaries = {where: _merged(of_where).summary() for where, of_where in moments.items()}
    return _of_all(rows), {
        "latent": {where: summary for where, summary in summaries.items() if summary},
        "conspicuity": _merged(levels).summary(prepared.parts),
    }


def _subjects(batch: input_pipeline.Batch) -> list[str]:
    """Of the real images of a batch."""
    return [subject.decode() for subject in batch["subject"][batch["weight"] > 0]]


def _merged(own: Sums) -> Sums:
    """Those of all processes together."""
    total = type(own)()
    for sums in processes.gather(own.sums()):
        total.add_sums(sums)
    return total


def _save_fused(folder: pathlib.Path, batch: input_pipeline.Batch, fused: np.ndarray) -> None:
    for i in np.flatnonzero(batch["weight"]):
        name = image_name(batch["subject"][i].decode(), int(batch["slice_index"][i]))
        luma = np.clip(fused[i, ..., 0], 0, 1)
        levels = np.floor(luma * 255 + 0.5).astype(np.uint8)
        if "chroma" in batch and batch["chroma"][i].any():
            levels = np.rint(colour.paint(luma, batch["chroma"][i]) * (255 / colour.DEPTH)).astype(np.uint8)
        with outputs.new_files(folder / f"{name}.png") as (temporary,):
            Image.fromarray(levels).save(temporary)


def score_folder(
    system: str,
    folder: pathlib.Path,
    prepared: input_pipeline.Prepared,
    data: ml_collections.ConfigDict,
    scoring: Scoring,
) -> tuple[list[score_table.Row], Further]:
    """Scores the images of a folder as fused images of the split.

    Args:
      system: the method's name in the rows.
      folder: holds an image a slice, named as `image_name` says.
      prepared: the dataset.
      data: `settings.DATA`, how the dataset is read.
      scoring: what is scored.

    Returns:
      as `score_model`.

    Raises:
      UserError: the folder or one of the images is missing, or an image is of another size.
    """
    found = FusedFolder(folder, scoring.fused_ranges.get(system, scoring.fused_ranges.get("")))
    names = image_scores.METRIC_SETS[scoring.metrics]

    @jax.jit
    def score(stack: jax.Array, fused: jax.Array, labels: jax.Array) -> dict[str, jax.Array]:
        sources = objective.split_sources(stack)
        return {
            "levels": lesion_scores.count_levels(sources, fused, labels),
            **image_scores.fusion_scores(sources, fused, names),
        }

    levels = lesion_scores.PatientLevels()
    parallel.check_batch(scoring.batch_size, jax.process_count(), "--batch-size")
    rows: list[tuple[int, score_table.Row]] = []
    for batch in _batches(prepared, data, scoring, system):
        results = jax.tree.map(np.asarray, score(batch["sources"], _read_fused(found, batch), batch["mask"]))
        rows += _rows(system, batch, results)
        levels.add(_subjects(batch), results["levels"][batch["weight"] > 0])
    found.check_brightness(processes.gather(found.peaks))
    if processes.is_first() and jax.process_count() == 1 and not scoring.limit:
        _tell_passed_over(folder, found.passed_over())
    return _of_all(rows), {"latent": {}, "conspicuity": _merged(levels).summary(prepared.parts)}


def _read_fused(found: FusedFolder, batch: input_pipeline.Batch) -> np.ndarray:
    """The fused images of a batch's slices, (B, H, W, 1)."""
    slices = zip(batch["subject"], batch["slice_index"], batch["sources"], strict=True)
    return np.stack(
        [found.read(image_name(name.decode(), int(index)), stack.shape[:2]) for name, index, stack in slices]
    )


def _tell_passed_over(folder: pathlib.Path, names: list[str], shown: int = 10) -> None:
    if names:
        print(
            f"{folder}: {len(names)} files are passed over, of no slice of this split: {', '.join(names[:shown])}"
            + (", ..." if len(names) > shown else "")
        )
