"""tf.data: prepared slices in, batches of NumPy arrays out. The only module that imports TensorFlow and TFDS.

Sources leave here as (B, H, W, M) float32 in [0, 1]; masks as (B, H, W, 1) uint8 labels.
Order is a pure function of (seed, epoch), so training resumes by position alone, without any iterator state.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from fusioninn_jax.runtime import quiet_tensorflow  # noqa: F401  isort: skip  before TensorFlow

import ml_collections
import numpy as np
from etils import epath, epy

from fusioninn_jax import prepared_data
from fusioninn_jax.anatomy import regions
from fusioninn_jax.runtime import guarded, places
from fusioninn_jax.runtime.errors import UserError, first_line

logging.getLogger("absl").setLevel(logging.ERROR)  # TFDS warns of its own deprecated calls


def _leave_accelerator(_: str) -> None:
    """Keeps TensorFlow off the accelerator, which belongs to JAX; before it, or TFDS through it, does anything."""
    importlib.import_module("tensorflow").config.set_visible_devices([], "GPU")  # not `tf`: that is what loads just now


with epy.lazy_imports(success_callback=_leave_accelerator):  # they take seconds, which a command's help would wait for
    import tensorflow as tf
    import tensorflow_datasets as tfds

Batch = dict[str, np.ndarray]
NORMALISATIONS = ("minmax", "percentile")
# what TensorFlow says of images that cannot share a batch, and `_of_one_size` of those that it would mix up
UNLIKE_SIZES = (
    "Cannot batch",
    "Cannot add tensor to the batch",
    "batch elements with different shapes",
    "images differ in size",
)
BRAIN_MARGIN = 8  # pixels of background that a crop may show beside the brain


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


def _guarded(prepared: Prepared, split: str, batches: Iterator[Batch]) -> Iterator[Batch]:
    """The batches; what TensorFlow raises while it reads them becomes one line, and its log lines stay out."""
    while True:
        with guarded.held_back():
            batch = _next(batches)
            if isinstance(batch, tf.errors.OpError):
                del batches  # it logs when it goes
                raise _explained(prepared, split, batch) from batch
        if batch is None:
            return
        yield batch


def _next(batches: Iterator[Batch]) -> Batch | tf.errors.OpError | None:
    """The next batch, None at the end, or the error, without the frames that keep the iterator."""
    try:
        return next(batches, None)
    except tf.errors.OpError as error:
        return error.with_traceback(None)


def _explained(prepared: Prepared, split: str, error: Exception) -> UserError:
    """What an error of TensorFlow means."""
    if isinstance(error, tf.errors.InvalidArgumentError) and any(text in str(error) for text in UNLIKE_SIZES):
        return UserError(
            f"{prepared.builder.data_dir}: images differ in size; set --config.data.crop="
            "HEIGHT,WIDTH, to which all are cut or padded"
        )
    return _unreadable(prepared, split, error)


def _unreadable(prepared: Prepared, split: str, error: Exception) -> UserError:
    """Names the file in which an example is not as it was written."""
    folder = epath.Path(prepared.builder.data_dir)
    files = [folder / file for file in prepared.builder.info.splits[split].filenames]
    for file in files:
        try:
            for _ in tf.data.TFRecordDataset(os.fspath(file)):
                pass
        except tf.errors.OpError:
            return prepared_data.damaged(file, "is damaged: a checksum in it is not met")
    return prepared_data.damaged(files[0], f"holds an example that is not understood ({first_line(error)[:100]})")


def _version_key(folder: epath.Path) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in folder.name.split("."))


def _encoded(prepared: Prepared, split: str) -> tf.data.Dataset:
    """(number in the split, still-compressed example), in the order of the files."""
    if split not in prepared.sizes:
        raise UserError(
            f"{prepared.builder.data_dir}: there is no split {split!r}; "
            f"choose one of {', '.join(sorted(prepared.sizes))}"
        )
    skip = {name: tfds.decode.SkipDecoding() for name in ("sources", "mask", "chroma")}
    read = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    return prepared.builder.as_dataset(split=split, decoders=skip, read_config=read, shuffle_files=False).enumerate()


def normalise(sources: tf.Tensor, normalisation: str = "minmax") -> tf.Tensor:
    """Scales each modality of a slice to [0, 1] by itself; a constant one becomes 0.

    Args:
      sources: (H, W, M) raw intensities; negative ones, the undershoot of resampling, count as 0.
      normalisation: one of NORMALISATIONS; "percentile" clips what is above the 99.9th of the positive pixels.

    Raises:
      UserError: an unknown normalisation.
    """
    if normalisation not in NORMALISATIONS:
        raise UserError(f"data.normalisation: {normalisation!r} is none of {', '.join(NORMALISATIONS)}; choose one")
    sources = tf.maximum(sources, 0)
    low = tf.reduce_min(sources, axis=(0, 1))
    if normalisation == "percentile":
        high = tf.stack([_percentile(sources[..., i]) for i in range(sources.shape[-1])])
    else:
        high = tf.reduce_max(sources, axis=(0, 1))
    span = high - low
    return tf.clip_by_value(tf.math.divide_no_nan(sources - low, span), 0, 1)


def _percentile(image: tf.Tensor, fraction: float = 0.999) -> tf.Tensor:
    """The value that `fraction` of an image's positive pixels do not exceed; 0 where none is positive."""
    inside = tf.sort(tf.concat([[0.0], tf.boolean_mask(image, image > 0)], 0))
    return inside[tf.cast(tf.math.floor(fraction * tf.cast(tf.size(inside) - 1, tf.float32)), tf.int32)]


def _decode(prepared: Prepared, normalisation: str, number: tf.Tensor, example: dict[str, Any]) -> dict[str, Any]:
    features = prepared.builder.info.features
    sources = normalise(features["sources"].decode_example(example["sources"]), normalisation)
    return {
        "sources": sources,
        "mask": features["mask"].decode_example(example["mask"]),
        "subject": example["subject"],
        "slice_index": example["slice_index"],
        "number": number,
    }


def _chroma(prepared: Prepared, encoded: dict[str, Any], sources: tf.Tensor) -> tf.Tensor:
    """(H, W, 2) Cb and Cr in parts of white, 0 where a slice has no colour."""
    chroma = prepared.builder.info.features["chroma"].decode_example(encoded["chroma"])
    grey = tf.zeros([tf.shape(sources)[0], tf.shape(sources)[1], 2])
    return tf.cond(tf.size(chroma) > 0, lambda: chroma / prepared.white, lambda: grey)


def _with_target(targets: np.ndarray, example: dict[str, Any]) -> dict[str, Any]:
    """The example with its picture of `targets`, (slices, H, W) uint8, as `target` (H, W, 1) in [0, 1]."""
    picture = tf.numpy_function(lambda number: targets[number], [example["number"]], tf.uint8)
    picture = tf.reshape(tf.cast(picture, tf.float32) / 255, tf.concat([tf.shape(example["sources"])[:2], [1]], 0))
    return example | {"target": picture}


def _crop(size: tuple[int, int], seed: int, position: tf.Tensor, example: dict[str, Any]) -> dict[str, Any]:
    """A random crop about the brain, the slice padded with zeros where it is smaller than the crop."""
    names = [name for name in ("sources", "mask", "target") if name in example]
    stack = tf.concat([tf.cast(example[name], tf.float32) for name in names], -1)
    modalities = example["sources"].shape[-1]
    lack = tf.maximum(tf.constant(size) - tf.shape(stack)[:2], 0)
    before = lack // 2
    stack = tf.pad(stack, [[before[0], lack[0] - before[0]], [before[1], lack[1] - before[1]], [0, 0]])
    rows_columns = [tf.where(tf.reduce_any(stack[..., :modalities] > 0, axis=(1 - axis, 2)))[:, 0] for axis in (0, 1)]
    draws = tf.random.stateless_uniform([2], seed=tf.stack([tf.constant(seed, tf.int64), position]))
    start = [
        _crop_start(where, tf.shape(stack)[axis], size[axis], draws[axis]) for axis, where in enumerate(rows_columns)
    ]
    window = stack[start[0] : start[0] + size[0], start[1] : start[1] + size[1]]
    window = tf.ensure_shape(window, (*size, stack.shape[-1]))
    parts = tf.split(window, [example[name].shape[-1] for name in names], axis=-1)
    return example | {name: tf.cast(part, example[name].dtype) for name, part in zip(names, parts, strict=True)}


def _crop_start(where: tf.Tensor, length: tf.Tensor, size: int, draw: tf.Tensor) -> tf.Tensor:
    """First row (or column) of a window of `size`, uniform among those that stay about the rows `where`."""
    where = tf.cond(tf.size(where) > 0, lambda: tf.cast(where, tf.int32), lambda: tf.stack([0, length - 1]))
    last = length - size
    low = tf.clip_by_value(where[0] - BRAIN_MARGIN, 0, last)
    high = tf.clip_by_value(where[-1] + 1 + BRAIN_MARGIN - size, low, last)
    return low + tf.cast(tf.math.floor(draw * tf.cast(high - low + 1, tf.float32)), tf.int32)


def _of_one_size(examples: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Batches of images of one size; TensorFlow itself takes 24x48 and 48x24 for alike, as many pixels as they are."""

    def check(batch: dict[str, Any], sizes: tf.Tensor) -> dict[str, Any]:
        tf.debugging.assert_equal(sizes, sizes[:1], message=UNLIKE_SIZES[-1])
        return batch

    return examples.map(lambda example: (example, tf.shape(example["sources"]))).batch(batch_size).map(check)


def train_batches(
    prepared: Prepared,
    config: ml_collections.ConfigDict,
    *,
    batch_size: int,
    seed: int,
    first_step: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Endless training batches, shuffled anew each epoch; a batch may run over from one epoch into the next.

    Args:
      prepared: from `open_dataset`.
      config: `settings.DATA`.
      batch_size: of the global batch, over all processes.
      seed: of the shuffles and crops.
      first_step: batches already consumed; reading goes on from there, exactly.
      process_index: this process; it gets its own rows of every global batch.
      process_count: number of processes.

    Yields:
      `sources` (b, H, W, M), `mask` (b, H, W, 1), `number` (b,), the slices' numbers in the split;
      where the dataset has `targets` also `target` (b, H, W, 1) in [0, 1].

    Raises:
      UserError: no such split, or, without a crop, images of unlike size in a batch.
    """
    encoded = _encoded(prepared, "train")
    encoded = encoded.cache() if config.cache else encoded
    count = prepared.sizes["train"]
    start = first_step * batch_size
    first_epoch, offset = divmod(start, count)
    buffer = min(config.shuffle_buffer, count)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return encoded.shuffle(buffer, seed=seed * 1_000_003 + number, reshuffle_each_iteration=False)

    stream = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max).flat_map(epoch).skip(offset)
    stream = tf.data.Dataset.zip(tf.data.Dataset.range(start, np.iinfo(np.int64).max), stream)
    own = batch_size // process_count
    if process_count > 1:  # other processes' rows are skipped without a look at them
        stream = stream.batch(own, drop_remainder=True).shard(process_count, process_index).unbatch()

    def prepare(position: tf.Tensor, numbered: tuple[tf.Tensor, dict[str, Any]]) -> dict[str, Any]:
        example = _decode(prepared, config.normalisation, *numbered)
        example = _with_target(prepared.targets["train"], example) if "train" in prepared.targets else example
        example = _crop(tuple(config.crop), seed, position, example) if config.crop else example
        return {name: example[name] for name in ("sources", "mask", "number", "target") if name in example}

    examples = stream.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = examples.batch(own) if config.crop else _of_one_size(examples, own)
    return _guarded(prepared, "train", batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator())


def evaluation_batches(
    prepared: Prepared,
    config: ml_collections.ConfigDict,
    split: str,
    *,
    batch_size: int,
    limit: int = 0,
    process_index: int = 0,
    process_count: int = 1,
) -> Iterator[Batch]:
    """Every whole slice of a split once; a short batch is filled up with copies of its own images, of weight 0.

    Copies, not zeros, so that a statistic of the batch's latents is of real images.

    Args:
      prepared: from `open_dataset`.
      config: `settings.DATA`.
      split: which one.
      batch_size: images in every global batch, the filled-up ones included. Slices of unlike size never share one.
      limit: where above 0, every n-th slice only, n the smallest that leaves no more than this many.
      process_index: this process; it decodes its own rows of every global batch.
      process_count: number of processes.

    Yields:
      `sources` (B, H, W, M), `mask` (B, H, W, 1), `subject` and `slice_index`, `number` and `weight` (B,): 1, or 0
      for filling; where it has `targets` also `target` (B, H, W, 1) in [0, 1]; where the dataset has colour `chroma`
      (B, H, W, 2), in parts of white.

    Raises:
      UserError: no such split.
    """

    def prepare(number: tf.Tensor, encoded: dict[str, Any], weight: tf.Tensor) -> dict[str, Any]:
        example = _decode(prepared, config.normalisation, number, encoded)
        example = _with_target(prepared.targets[split], example) if split in prepared.targets else example
        if prepared.white:
            example["chroma"] = _chroma(prepared, encoded, example["sources"])
        return example | {"weight": weight}

    def size_key(number: tf.Tensor, example: dict[str, Any]) -> tf.Tensor:
        height, width = tf.unstack(tf.cast(example["sources"]["shape"][:2], tf.int64))
        return height * 2**31 + width

    def own_rows(numbers: tf.Tensor, examples: dict[str, Any]) -> tf.data.Dataset:
        real, rows = tf.shape(numbers)[0], tf.range(process_index * own, (process_index + 1) * own)
        chosen = tf.nest.map_structure(lambda values: tf.gather(values, rows % real), (numbers, examples))
        return tf.data.Dataset.from_tensor_slices((*chosen, tf.cast(rows < real, tf.float32)))

    own = batch_size // process_count
    encoded = _encoded(prepared, split)
    if limit:
        every = -(-prepared.sizes[split] // limit)
        encoded = encoded.filter(lambda number, _: number % every == 0)
    batches = encoded.group_by_window(size_key, lambda _, group: group.batch(batch_size), window_size=batch_size)
    examples = batches.flat_map(own_rows).map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return _guarded(prepared, split, examples.batch(own).prefetch(tf.data.AUTOTUNE).as_numpy_iterator())
