"""TFDS builder: folders of equally named images -> sets of sources in splits."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
import tqdm

from data import splits
from data.image_pairs import pairing
from fusioninn_jax.input_pipeline import example_features
from fusioninn_jax.runtime.errors import UserError

VAL_FRACTION = 0.1


@dataclasses.dataclass(eq=False)
class ImagePairsConfig(tfds.core.BuilderConfig):
    """Where the images lie, and which go where.

    Attributes:
      sources: one folder per modality; () takes the subfolders of TFDS's manual_dir named as the modalities.
      modalities: a name for each source, in the same order.
      val_fraction: of the images; None is 0.1.
      test_fraction: likewise.
      seed: of the draw.
    """

    sources: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ("first", "second")
    val_fraction: float | None = None
    test_fraction: float = 0.0
    seed: int = 0

    def settings(self, source: str) -> dict[str, Any]:
        """All settings in JSON's types; `source` stands for the folders where none is named."""
        return {
            "source": list(self.sources) or source,
            "modalities": list(self.modalities),
            "val_fraction": self.val_fraction,
            "test_fraction": self.test_fraction,
            "seed": self.seed,
        }


class Builder(tfds.core.GeneratorBasedBuilder):
    """Pairs (or larger sets) of images."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES = {"1.0.0": "First version."}
    BUILDER_CONFIGS = [ImagePairsConfig(name="default", description="Subfolders 'first' and 'second'.")]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "Put the images of each modality into a subfolder of the modality's name."

    def _info(self) -> tfds.core.DatasetInfo:
        modalities = self.builder_config.modalities
        return self.dataset_info_from_configs(
            features=example_features(len(modalities)), metadata=tfds.core.MetadataDict(modalities=list(modalities))
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Iterator[Any]]:
        config = self.builder_config
        source = "" if config.sources else os.path.realpath(dl_manager.manual_dir)
        folders = [pathlib.Path(folder) for folder in config.sources or [f"{source}/{m}" for m in config.modalities]]
        if len(folders) != len(config.modalities) or len(set(config.modalities)) != len(folders):
            raise UserError(
                f"modalities: {','.join(config.modalities)} for {len(folders)} sources; name each source, "
                "in order, by a name of its own"
            )
        sets = pairing.find_sets(folders)
        digests, self._white = {}, 0.0
        for name, paths in tqdm.tqdm(sets.items(), desc="reading images", unit="set", disable=None):
            images = pairing.read_set(paths)  # whatever is wrong is found before anything is written
            digests[name], self._white = pairing.digests(images), max(self._white, images.white)
        fraction = VAL_FRACTION if config.val_fraction is None else config.val_fraction
        unit_of, copies = splits.joined(digests)
        drawn = splits.assign(
            set(unit_of.values()), seed=config.seed, val_fraction=fraction, test_fraction=config.test_fraction
        )
        split_of = {name: drawn[unit] for name, unit in unit_of.items()}
        counts = {s: sum(v == s for v in split_of.values()) for s in splits.SPLITS if s in split_of.values()}
        self.info.metadata.update(
            split_by="image",
            seed=config.seed,
            has_mask=False,
            label_names={},
            counts={"slices": counts},
            settings=config.settings(source),
            white=self._white,
            passed_over=pairing.passed_over(folders),
            copies=copies,
        )
        return {
            split: self._generate_examples(sets, [name for name in sets if split_of[name] == split]) for split in counts
        }

    def _generate_examples(
        self, sets: dict[str, tuple[pathlib.Path, ...]], names: Sequence[str]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for name in tqdm.tqdm(names, desc="writing images", unit="set", disable=None):
            images = pairing.read_set(sets[name])
            yield (
                name,
                {
                    "sources": images.sources,
                    "mask": np.zeros((*images.sources.shape[:2], 1), np.uint8),
                    "chroma": images.chroma * np.float32(self._white / images.white if images.white else 1),
                    "subject": name,
                    "slice_index": 0,
                    "spacing": np.ones(2, np.float32),
                },
            )
