"""A prepared dataset on disk or in a bucket: the features of its slices, how it is found and opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import ml_collections
import numpy as np
from etils import epath

from fusioninn_jax import prepared_data
from fusioninn_jax.anatomy import regions
from fusioninn_jax.input_pipeline.libraries import tf, tfds
from fusioninn_jax.runtime import places
from fusioninn_jax.runtime.errors import UserError, first_line


def example_features(modalities: int) -> tfds.features.FeaturesDict:
    """The features of one slice, the same for every dataset under data/.

    Args:
      modalities: number of source images, M.

    Returns:
      `sources` (H, W, M) raw intensities; `mask` (H, W, 1) the annotation's labels as in `regions`, 0 where none;
      `chroma` (H, W, 2) Cb and Cr of a colour source, (0, 0, 2) where there is none; `subject`; `slice_index`;
      `spacing` in mm.
    """

    def image(channels: int, dtype: tf.DType) -> tfds.features.Tensor:
        return tfds.features.Tensor(shape=(None, None, channels), dtype=dtype, encoding="zlib")

    return tfds.features.FeaturesDict(
        {
            "sources": image(modalities, tf.float32),
            "mask": image(1, tf.uint8),
            "chroma": image(2, tf.float32),
            "subject": tfds.features.Text(),
            "slice_index": tf.int32,
            "spacing": tfds.features.Tensor(shape=(2,), dtype=tf.float32),
        }
    )


class Prepared(NamedTuple):
    """A prepared dataset, ready to be read."""

    builder: tfds.core.DatasetBuilder
    modalities: tuple[str, ...]
    sizes: dict[str, int]  # slices in each split
    parts: dict[str, int] = {}  # of the tumour, that the annotation tells apart: name -> label, out of regions.SCORED
    white: float = 0.0  # the value of white that `chroma` goes with; 0 where no slice has colour
    # (slices, H, W) uint8 of some splits: what each fused slice should be, where that was made beforehand
    targets: Mapping[str, np.ndarray] = MappingProxyType({})


def open_dataset(config: ml_collections.ConfigDict) -> Prepared:
    """Finds the newest version of a prepared dataset.

    Args:
      config: `settings.DATA`.

    Raises:
      UserError: it is not prepared; the message names the command that prepares it. Or `data_dir` cannot be read.
    """
    folder = places.folder(config.data_dir, "data_dir") / config.dataset
    try:
        versions = sorted((path.parent for path in folder.glob("*/dataset_info.json")), key=_version_key)
    except Exception as error:  # each store has its own kinds of errors
        raise UserError(
            f"{folder}: cannot be read ({first_line(error)[:200]}); check data_dir, a bucket needs credentials and a "
            "network"
        ) from error
    if not versions:
        name, _, of_config = config.dataset.partition("/")
        option = {"brain_phantom": f" --config={of_config}"}.get(name, f" --source=FOLDER --name={of_config}")
        raise UserError(
            f"{folder}: no prepared dataset there; "
            f"run `python -m data.prepare {name}{option} --data_dir={config.data_dir}` first"
        )
    return open_folder(versions[-1])


def _version_key(folder: epath.Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in folder.name.split("."))


def open_folder(folder: epath.Path) -> Prepared:
    """The prepared dataset in `folder`, which is that of a version.

    Raises:
      UserError: its files are not those that were written.
    """
    prepared_data.check_description(folder)
    try:
        builder = tfds.builder_from_directory(os.fspath(folder))
        channels = builder.info.features["sources"].shape[-1]
        metadata = dict(builder.info.metadata or {})
        splits = dict(builder.info.splits)
        prepared_data.check_sizes(folder, splits)
    except UserError:
        raise
    except Exception as error:  # TFDS raises many kinds for a file that it cannot understand
        what = f"this and {prepared_data.FEATURES} are not understood ({first_line(error)[:100]})"
        raise prepared_data.damaged(folder / prepared_data.INFO, what) from error
    named = metadata.get("modalities") or [f"source {i + 1}" for i in range(channels)]
    if not isinstance(named, list | tuple) or len(named) != channels:
        raise prepared_data.damaged(folder / prepared_data.METADATA, f"does not name {channels} modalities")
    try:
        parts = regions.named(metadata.get("label_names") or {}) if metadata.get("has_mask") else {}
        white = float(metadata.get("white") or 0)
    except (AttributeError, TypeError, ValueError) as error:
        what = f"its label_names or its white are not as they are written ({type(error).__name__})"
        raise prepared_data.damaged(folder / prepared_data.METADATA, what) from error
    sizes = {name: split.num_examples for name, split in splits.items()}
    return Prepared(builder, tuple(map(str, named)), sizes, parts, white)
