"""A tiny prepared dataset and a tiny configuration, for every test that trains."""

from __future__ import annotations

import pathlib

import ml_collections
import numpy as np
import tensorflow_datasets as tfds

from fusioninn_jax import input_pipeline, settings
from tests.golden import portable_inputs

SIZES = {"train": 11, "validation": 5, "test": 3}


class Tiny(tfds.core.GeneratorBasedBuilder):
    """Smooth seeded pairs of 24x28, a blank margin, a square mask; raw intensities up to 1000."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        return self.dataset_info_from_configs(
            features=input_pipeline.example_features(2),
            metadata=tfds.core.MetadataDict(modalities=["t1gd", "flair"], has_mask=True, label_names={"2": "oedema"}),
        )

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(name) for name in SIZES}

    def _generate_examples(self, split):
        for i in range(SIZES[split]):
            raw = portable_inputs.smooth(100 * len(split) + i, 1, 24, 28)[0].transpose(1, 2, 0)
            sources = np.pad(np.round(1000 * raw[4:-4, 4:-4]) + 1, ((4, 4), (4, 4), (0, 0))).astype(np.float32)
            mask = np.zeros((24, 28, 1), np.uint8)
            mask[8:12, 8:12] = 2
            yield (
                i,
                {
                    "sources": sources,
                    "mask": mask,
                    "chroma": np.zeros((0, 0, 2), np.float32),
                    "subject": f"{split}{i // 2}",
                    "slice_index": i,
                    "spacing": np.ones(2, np.float32),
                },
            )


def prepare(data_dir: pathlib.Path, builder_cls: type[tfds.core.GeneratorBasedBuilder] = Tiny) -> pathlib.Path:
    """Writes the dataset as `tiny/default` below data_dir, where `open_dataset` finds it."""
    builder = builder_cls(data_dir=str(data_dir / "made"))
    builder.download_and_prepare()
    target = data_dir / "tiny" / "default" / "1.0.0"
    target.parent.mkdir(parents=True)
    pathlib.Path(builder.data_dir).rename(target)
    return data_dir


def config(data_dir: pathlib.Path) -> ml_collections.ConfigDict:
    """A model of a few hundred parameters on 16x16 crops, 6 steps, an evaluation every 2."""
    result = settings.defaults()
    result.data.dataset, result.data.data_dir, result.data.crop = "tiny/default", str(data_dir), (16, 16)
    result.model.fusioninn.blocks, result.model.fusioninn.widths = 1, (3,)
    result.train.batch_size, result.train.steps, result.train.eval_every, result.train.log_every = 8, 6, 2, 1
    return result
