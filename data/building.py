"""Running a TFDS builder so that its result appears whole or not at all, and is the same bytes each time."""

from __future__ import annotations

import contextlib
import io
import os
from typing import Any

from etils import epath

from data import options, publishing
from fusioninn_jax.runtime import errors


def prepare(
    builder_cls: Any,
    config: Any,
    manual_dir: str | None,
    data_dir: epath.PathLike,
    beam_options: str | None = None,
    *,
    overwrite: bool = True,
) -> epath.Path:
    """Builds into a hidden folder, then gives it its name (see `publishing`).

    Args:
      builder_cls: a TFDS builder class.
      config: a BuilderConfig, or the name of one of the class's.
      manual_dir: the folder that the builder reads, None where it needs none.
      data_dir: where prepared datasets lie: a local folder, or one in a bucket (gs://...).
      beam_options: of a Beam pipeline, as `_beam_options` takes them; None: all in this process.
      overwrite: replace a dataset of the same name.

    Returns:
      The folder of the prepared dataset.

    Raises:
      UserError: bad data, or a data_dir that cannot be written. Nothing is left behind.
    """
    import tensorflow_datasets as tfds

    data_dir = epath.Path(data_dir)
    config_name = config if isinstance(config, str) else config.name
    beam = _beam_options(beam_options)
    with publishing.staging(data_dir, f"{builder_cls.name}-{config_name}", shared=beam_options is not None) as staging:
        try:
            builder = builder_cls(data_dir=os.fspath(staging), config=config)
            builder.use_beam = beam_options is not None
            download = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_options=beam)
            with contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare(download_dir=staging / "downloads", download_config=download)
            built = epath.Path(builder.data_dir)
            make_canonical(built)
            final = data_dir / builder_cls.name / config_name / built.name
            publishing.publish(built, final, overwrite=overwrite)
        except (OSError, _bucket_errors()) as error:  # the builders turn errors of reading into UserError
            raise errors.UserError(
                f"{data_dir}: cannot be written ({errors.first_line(error)}); choose another --data_dir or free space"
            ) from error
    return final


def _bucket_errors() -> type[Exception]:
    """What TensorFlow raises where a bucket fails."""
    import tensorflow as tf

    return tf.errors.OpError


def _beam_options(text: str | None) -> Any:
    """`runner=DataflowRunner,project=P,...`, as TFDS' own command takes them -> Beam's options.

    Raises:
      UserError: Beam is not installed.
    """
    if text is None:
        return None
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise errors.UserError(
            "--beam_pipeline_options: needs Apache Beam; pip install 'fusioninn_jax[beam]'"
        ) from error
    return PipelineOptions(flags=[f"--{option}" for option in options.names(text)])


def make_canonical(folder: epath.Path) -> None:
    """Gives every record in a `folder` its canonical form: protobuf writes the features of an example in any order."""
    import tensorflow as tf

    for path in sorted(folder.glob("*.tfrecord-*")):
        rewritten = path.parent / f"canonical-{path.name}"
        with tf.io.TFRecordWriter(os.fspath(rewritten)) as writer:
            for record in tf.data.TFRecordDataset(os.fspath(path)).as_numpy_iterator():
                writer.write(tf.train.Example.FromString(record).SerializeToString(deterministic=True))
        rewritten.replace(path)
