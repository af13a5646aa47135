"""One slice in tf.data: decoded, scaled to [0, 1], with its target picture, cropped."""

from __future__ import annotations

import numpy as np

from fusioninn_jax.input_pipeline.datasets import Prepared
from fusioninn_jax.input_pipeline.libraries import tf
from fusioninn_jax.runtime.errors import UserError

Example = dict[str, "tf.Tensor"]  # one slice, or a batch of them; before it is decoded its values are dictionaries too
NORMALISATIONS = ("minmax", "percentile")
BRAIN_MARGIN = 8  # pixels of background that a crop may show beside the brain


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


def decode(prepared: Prepared, normalisation: str, number: tf.Tensor, encoded: Example) -> Example:
    """A slice as batches hold it, without its weight, its target and its colour.

    Args:
      prepared: from `open_dataset`.
      normalisation: of the sources, see `normalise`.
      number: of the slice in its split.
      encoded: the slice's features, still compressed.
    """
    features = prepared.builder.info.features
    sources = normalise(features["sources"].decode_example(encoded["sources"]), normalisation)
    return {
        "sources": sources,
        "mask": features["mask"].decode_example(encoded["mask"]),
        "subject": encoded["subject"],
        "slice_index": encoded["slice_index"],
        "number": number,
    }


def decode_chroma(prepared: Prepared, encoded: Example, sources: tf.Tensor) -> tf.Tensor:
    """(H, W, 2) Cb and Cr of the slice `encoded` in parts of `prepared.white`; 0 where it has no colour.

    Args:
      prepared: of a dataset with colour.
      encoded: as for `decode`.
      sources: (H, W, M), for their size.
    """
    chroma = prepared.builder.info.features["chroma"].decode_example(encoded["chroma"])
    grey = tf.zeros([tf.shape(sources)[0], tf.shape(sources)[1], 2])
    return tf.cond(tf.size(chroma) > 0, lambda: chroma / prepared.white, lambda: grey)


def with_target(targets: np.ndarray, example: Example) -> Example:
    """`example` with its picture of `targets`, (slices, H, W) uint8, as `target` (H, W, 1) in [0, 1]."""
    picture = tf.numpy_function(lambda number: targets[number], [example["number"]], tf.uint8)
    picture = tf.reshape(tf.cast(picture, tf.float32) / 255, tf.concat([tf.shape(example["sources"])[:2], [1]], 0))
    return example | {"target": picture}


def crop(size: tuple[int, int], seed: int, position: tf.Tensor, example: Example) -> Example:
    """A random crop about the brain, the slice padded with zeros where it is smaller than the crop.

    Args:
      size: (height, width) of the crop.
      seed: of the run.
      position: of the example in the run, which with the seed says where the crop lies.
      example: `sources` and, where it has them, `mask` and `target` are cropped alike.
    """
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
