"""TFDS builder: simulated T1-Gd and T2-FLAIR slices of brain tumours; needs no files and no network."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from fusioninn_jax import phantom
from fusioninn_jax.input_pipeline import example_features


@dataclasses.dataclass(eq=False)
class PhantomConfig(tfds.core.BuilderConfig):
    """How many simulated patients, and how their slices are sampled.

    Attributes:
      subjects: in train, validation, test; numbered through in that order.
      size: height and width of a slice in pixels.
      spacing: pixel size, mm.
      lesion_slices: per patient, through the tumour.
      other_slices: per patient, away from it.
      seed: of everything.
    """

    subjects: tuple[int, int, int] = (36, 6, 6)
    size: int = 240
    spacing: float = 1.0
    lesion_slices: int = 8
    other_slices: int = 2
    seed: int = 0

    def splits(self) -> dict[str, range]:
        """Split name to the indices of its patients."""
        train, validation, test = np.cumsum(self.subjects).tolist()
        return {"train": range(train), "validation": range(train, validation), "test": range(validation, test)}


class Builder(tfds.core.GeneratorBasedBuilder):
    """Simulated brain-tumour MRI on MNI152 anatomy."""

    VERSION = tfds.core.Version("1.1.0")
    RELEASE_NOTES = {"1.0.0": "First version.", "1.1.0": "More kinds of scanner, noise, sharpness and tissue."}
    BUILDER_CONFIGS = [
        PhantomConfig(name="default", description="48 patients, 480 slices of 240 x 240 pixels of 1 mm."),
        PhantomConfig(
            name="large", description="492 patients, 4920 slices of 240 x 240 pixels of 1 mm.", subjects=(480, 6, 6)
        ),
        PhantomConfig(
            name="tiny",
            description="8 patients, 32 slices of 96 x 96 pixels of 2.5 mm, for tests.",
            subjects=(4, 2, 2),
            size=96,
            spacing=2.5,
            lesion_slices=3,
            other_slices=1,
        ),
    ]

    def _info(self) -> tfds.core.DatasetInfo:
        config = self.builder_config
        slices = config.lesion_slices + config.other_slices
        split_sizes = {split: len(indices) for split, indices in config.splits().items()}
        metadata = tfds.core.MetadataDict(
            modalities=list(phantom.MODALITIES),
            split_by="patient",
            seed=config.seed,
            has_mask=True,
            label_names=phantom.LABELS,
            counts={"subjects": split_sizes, "slices": {split: n * slices for split, n in split_sizes.items()}},
        )
        return self.dataset_info_from_configs(
            features=example_features(len(phantom.MODALITIES)), metadata=metadata, disable_shuffling=True
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        del dl_manager  # nothing is downloaded
        return {split: self._generate_examples(split) for split in self.builder_config.splits()}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        config = self.builder_config
        for index in tqdm.tqdm(config.splits()[split], desc=f"simulating {split}", unit="subject", disable=None):
            subject = phantom.simulate_subject(
                config.seed,
                index,
                size=config.size,
                spacing=config.spacing,
                lesion_slices=config.lesion_slices,
                other_slices=config.other_slices,
            )
            for row, height in enumerate(subject.slice_index.tolist()):
                yield (
                    index * 1000 + height,
                    {
                        "sources": subject.sources[row],
                        "mask": subject.mask[row],
                        "chroma": np.zeros((0, 0, 2), np.float32),
                        "subject": subject.name,
                        "slice_index": height,
                        "spacing": np.full(2, config.spacing, np.float32),
                    },
                )
