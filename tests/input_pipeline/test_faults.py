"""fusioninn_jax.input_pipeline.faults: what TensorFlow raises while it reads becomes one line with a remedy."""

import types

import numpy as np
import pytest
import tensorflow as tf

from fusioninn_jax.input_pipeline import faults
from fusioninn_jax.runtime.errors import UserError


@pytest.fixture(name="prepared")
def prepared_fixture(tmp_path):
    """A dataset of two files, sound as far as TFRecord goes."""
    folder = tmp_path / "brats" / "mine" / "1.0.0"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        with tf.io.TFRecordWriter(str(folder / name)) as file:
            file.write(b"example")
    splits = {"train": types.SimpleNamespace(filenames=["a", "b"])}
    return types.SimpleNamespace(
        builder=types.SimpleNamespace(data_dir=folder, info=types.SimpleNamespace(splits=splits))
    )


def raising(error, after):
    """Batches, then the error."""
    yield from after
    raise error


def test_batches_pass_until_the_error(prepared):
    batch = {"number": np.arange(2)}
    assert list(faults.told(prepared, "train", iter([batch, batch]))) == [batch, batch]
    passed = faults.told(prepared, "train", raising(tf.errors.DataLossError(None, None, "corrupted record"), [batch]))
    assert next(passed) is batch
    with pytest.raises(UserError, match="a: holds an example that is not understood .corrupted record.*--overwrite"):
        next(passed)


@pytest.mark.parametrize("said", faults.UNLIKE_SIZES)
def test_images_of_unlike_size_ask_for_a_crop(prepared, said):
    error = tf.errors.InvalidArgumentError(None, None, f"{said} [24, 24] and [28, 24]")
    with pytest.raises(UserError, match="images differ in size; set --config.data.crop=HEIGHT,WIDTH"):
        next(faults.told(prepared, "train", raising(error, [])))


def test_the_damaged_file_is_named(prepared):
    path = prepared.builder.data_dir / "b"
    content = bytearray(path.read_bytes())
    content[14] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="b: is damaged: a checksum in it is not met; .*data.prepare brats --name=mine"):
        next(faults.told(prepared, "train", raising(tf.errors.DataLossError(None, None, "corrupted"), [])))
    with pytest.raises(ZeroDivisionError):  # not TensorFlow's: a defect
        next(faults.told(prepared, "train", raising(ZeroDivisionError(), [])))
