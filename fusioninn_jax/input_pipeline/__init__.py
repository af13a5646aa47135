"""tf.data: prepared slices in, batches of NumPy arrays out. TensorFlow and TFDS are imported here alone (`libraries`).

Sources leave here as (B, H, W, M) float32 in [0, 1]; masks as (B, H, W, 1) uint8 labels.
Order is a pure function of (seed, epoch), so training resumes by position alone, without any iterator state.
"""

from __future__ import annotations

from collections.abc import Iterator

import ml_collections
import numpy as np

from fusioninn_jax.input_pipeline.datasets import Prepared, example_features, open_dataset, open_folder
from fusioninn_jax.input_pipeline.faults import MIXED_SIZES, Batch, told
from fusioninn_jax.input_pipeline.libraries import tf, tfds
from fusioninn_jax.input_pipeline.slices import (
    NORMALISATIONS,
    Example,
    crop,
    decode,
    decode_chroma,
    normalise,
    with_target,
)
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.words import counted

__all__ = [
    "NORMALISATIONS",
    "Batch",
    "Prepared",
    "evaluation_batches",
    "example_features",
    "normalise",
    "open_dataset",
    "open_folder",
    "train_batches",
]


def _encoded(prepared: Prepared, split: str) -> tf.data.Dataset:
    """(number in the split, still-compressed example), in the order of the files."""
    if not prepared.sizes.get(split):
        found = [f"{name} ({counted(size, 'slice')})" for name, size in sorted(prepared.sizes.items()) if size]
        raise UserError(
            f"{prepared.builder.data_dir}: "
            + (f"the split {split!r} holds no slice" if split in prepared.sizes else f"there is no split {split!r}")
            + f"; choose one of {', '.join(found) or 'none: prepare the dataset anew'}"
        )
    skip = {name: tfds.decode.SkipDecoding() for name in ("sources", "mask", "chroma")}
    read = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
    return prepared.builder.as_dataset(split=split, decoders=skip, read_config=read, shuffle_files=False).enumerate()


def _of_one_size(examples: tf.data.Dataset, batch_size: int) -> tf.data.Dataset:
    """Batches of images of one size; TensorFlow itself takes 24x48 and 48x24 for alike, as many pixels as they are."""

    def check(batch: Example, sizes: tf.Tensor) -> Example:
        tf.debugging.assert_equal(sizes, sizes[:1], message=MIXED_SIZES)
        return batch

    return examples.map(lambda example: (example, tf.shape(example["sources"]))).batch(batch_size).map(check)


def _size_key(number: tf.Tensor, encoded: Example) -> tf.Tensor:
    """One number for each height and width."""
    height, width = tf.unstack(tf.cast(encoded["sources"]["shape"][:2], tf.int64))
    return height * 2**31 + width


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

    def prepare(position: tf.Tensor, numbered: tuple[tf.Tensor, Example]) -> Example:
        example = decode(prepared, config.normalisation, *numbered)
        example = with_target(prepared.targets["train"], example) if "train" in prepared.targets else example
        example = crop(tuple(config.crop), seed, position, example) if config.crop else example
        return {name: example[name] for name in ("sources", "mask", "number", "target") if name in example}

    examples = stream.map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = examples.batch(own) if config.crop else _of_one_size(examples, own)
    return told(prepared, "train", batches.prefetch(tf.data.AUTOTUNE).as_numpy_iterator())


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
      UserError: no such split, or one without slices.
    """

    def prepare(number: tf.Tensor, encoded: Example, weight: tf.Tensor) -> Example:
        example = decode(prepared, config.normalisation, number, encoded)
        example = with_target(prepared.targets[split], example) if split in prepared.targets else example
        if prepared.white:
            example["chroma"] = decode_chroma(prepared, encoded, example["sources"])
        return example | {"weight": weight}

    def own_rows(numbers: tf.Tensor, examples: Example) -> tf.data.Dataset:
        real, rows = tf.shape(numbers)[0], tf.range(process_index * own, (process_index + 1) * own)
        chosen = tf.nest.map_structure(lambda values: tf.gather(values, rows % real), (numbers, examples))
        return tf.data.Dataset.from_tensor_slices((*chosen, tf.cast(rows < real, tf.float32)))

    own = batch_size // process_count
    encoded = _encoded(prepared, split)
    if limit:
        every = -(-prepared.sizes[split] // limit)
        encoded = encoded.filter(lambda number, _: number % every == 0)
    batches = encoded.group_by_window(_size_key, lambda _, group: group.batch(batch_size), window_size=batch_size)
    examples = batches.flat_map(own_rows).map(prepare, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return told(prepared, split, examples.batch(own).prefetch(tf.data.AUTOTUNE).as_numpy_iterator())
