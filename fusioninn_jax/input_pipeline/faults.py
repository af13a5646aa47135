"""What TensorFlow raises while batches are read, said in one line."""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
from etils import epath

from fusioninn_jax import prepared_data
from fusioninn_jax.input_pipeline.datasets import Prepared
from fusioninn_jax.input_pipeline.libraries import tf
from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError, first_line

Batch = dict[str, np.ndarray]
MIXED_SIZES = "images differ in size"  # said by the batches themselves, where TensorFlow would mix them up
# what is said of images that cannot share a batch, by TensorFlow and by the batches
UNLIKE_SIZES = ("Cannot batch", "Cannot add tensor to the batch", "batch elements with different shapes", MIXED_SIZES)


def told(prepared: Prepared, split: str, batches: Iterator[Batch]) -> Iterator[Batch]:
    """Passes `batches` of a `split` of `prepared` on; the log lines of TensorFlow, which reads them, stay out.

    Raises:
      UserError: for whatever TensorFlow raises: images of unlike size, a damaged file.
    """
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
