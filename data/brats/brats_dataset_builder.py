"""TFDS builder: a folder of BraTS, MSD Task01 or the authors' HDF5 -> axial slices in splits."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data.brats import layouts, naming, reading
from data.brats.plan import Plan, make_plan
from fusioninn_jax.formats import background
from fusioninn_jax.input_pipeline import example_features


@dataclasses.dataclass(eq=False)
class BratsConfig(tfds.core.BuilderConfig):
    """Which slices, and who goes where.

    Attributes:
      modalities: two or more of t1, t1gd, t2, flair, in the order of the channels.
      required_labels: an annotated slice is kept only if it holds them all; () means: judge by the brain.
      min_brain_fraction: of a slice's pixels, where there is no annotation or no required label.
      split_by: 'patient', or 'slice' as in the paper, where one patient can be on both sides.
      val_fraction: of the subjects (or slices); None is 0.1 by patient and 1153/9653 by slice.
      test_fraction: likewise.
      validation_subjects: named instead of drawn.
      test_subjects: likewise.
      seed: of the draw.
      skip_bad: leave bad subjects out, with a count, instead of failing.
      strict: negative voxels are an error instead of being clipped to 0 and counted.
      background: 'auto', 'minimum' or the value, for all modalities or one for each.
      masks: patterns of the names of files that are masks, beyond those that are known.
      ignore: patterns of the names of files that are left alone.
      patient_pattern: a regular expression whose first group is the patient in a subject's name; '': namings known.
    """

    modalities: tuple[str, ...] = ("t1gd", "flair")
    required_labels: tuple[int, ...] = (1, 2)
    min_brain_fraction: float = 0.05
    split_by: str = "patient"
    val_fraction: float | None = None
    test_fraction: float = 0.0
    validation_subjects: tuple[str, ...] = ()
    test_subjects: tuple[str, ...] = ()
    seed: int = 0
    skip_bad: bool = False
    strict: bool = False
    background: tuple[str, ...] = ("auto",)
    masks: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    patient_pattern: str = ""

    def settings(self, source: str) -> dict[str, Any]:
        """All settings in JSON's types, and `source`, where the data came from: equal settings, equal dataset."""
        base = {field.name for field in dataclasses.fields(tfds.core.BuilderConfig)}
        own = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in base}
        own["modalities"] = layouts.parse_modalities(self.modalities)
        return {"source": source, **{k: list(v) if isinstance(v, tuple) else v for k, v in own.items()}}


class Builder(tfds.core.GeneratorBasedBuilder):
    """BraTS as axial slices."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    BUILDER_CONFIGS = [BratsConfig(name="default", description="T1-Gd and FLAIR, labels 1 and 2, split by patient.")]
    use_beam = False  # set on a builder: subjects are read and written by the workers of a Beam pipeline
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Unpack the data, which needs registration, and give its folder; see README.md."

    def _info(self) -> tfds.core.DatasetInfo:
        modalities = layouts.parse_modalities(self.builder_config.modalities)
        return self.dataset_info_from_configs(
            features=example_features(len(modalities)), metadata=tfds.core.MetadataDict(modalities=list(modalities))
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        root = pathlib.Path(dl_manager.manual_dir)
        plan = make_plan(root, self.builder_config)
        self.info.metadata.update(plan.metadata, settings=self.builder_config.settings(os.path.realpath(root)))
        return {split: self._generate_examples(plan, split) for split in plan.metadata["counts"]["slices"]}

    def _generate_examples(self, plan: Plan, split: str) -> Any:
        """The examples of a split: an iterator, or a Beam transform that gives them."""
        modalities = layouts.parse_modalities(self.builder_config.modalities)
        asked = [background.parse(text) for text in self.builder_config.background]
        subjects = [s for s in plan.subjects if s.name in plan.metadata["subjects"][split]]
        of_split = {place for place, where in plan.split_of.items() if where == split}
        if self.use_beam:
            beam = tfds.core.lazy_imports.apache_beam
            return beam.Create(subjects) | beam.FlatMap(_examples, modalities, of_split, asked)
        shown = tqdm.tqdm(subjects, desc=f"writing {split}", unit="subject", disable=None)
        return (example for subject in shown for example in _examples(subject, modalities, of_split, asked))


def _examples(
    subject: naming.Subject, modalities: Sequence[str], of_split: set[tuple[str, int]], asked: Sequence[str | float]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(key, example) of each slice of a subject that belongs to the split."""
    for block in reading.read_slices(subject, modalities, strict=False, backgrounds=asked):
        for row, name in enumerate(block.subjects):
            index = block.first + row
            if (subject.name, index) in of_split:
                yield f"{name}/{index:05d}", _example(block, row)


def _example(block: reading.Slices, row: int) -> dict[str, Any]:
    return {
        "sources": block.sources[row],
        "mask": block.mask[row],
        "chroma": np.zeros((0, 0, 2), np.float32),
        "subject": block.subjects[row],
        "slice_index": block.first + row,
        "spacing": np.array(block.spacing, np.float32),
    }
