"""Prepares a dataset once: `python -m data.prepare {brats,image_pairs,brain_phantom} [--help]`.

The result lies in {data_dir}/{dataset}/{name}/{version} and appears there only once it is whole.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import pathlib
import re
import time
from collections.abc import Sequence
from typing import Any

from etils import epath

from data import publishing, summary
from data.brats import layouts
from fusioninn_jax.formats import background
from fusioninn_jax.runtime import errors

# Before TensorFlow is imported: its start-up notes would bury the one line that a user has to read.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

EXAMPLES = {
    "brain_phantom": "python -m data.prepare brain_phantom",
    "brats": """
        python -m data.prepare brats --source=BRATS_FOLDER --name=t1gd_flair
        python -m data.prepare brats --source=BRATS_FOLDER --modalities=t1,t1gd,t2,flair --test_fraction=0.1
    """,
    "image_pairs": "python -m data.prepare image_pairs --source=FOLDER/CT --source=FOLDER/MRI --name=ct_mri",
}
EXAMPLES["all"] = "\n".join(EXAMPLES.values())
TRAIN_CONFIG = {"brats": "brats", "image_pairs": "default", "brain_phantom": "phantom"}


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line, prepares, prints a summary; returns the exit code."""
    args = _parser().parse_args(argv)
    builder_cls = _builder_class(args.dataset)
    config, manual_dir, settings = _request(args, builder_cls)
    name = config if isinstance(config, str) else config.name
    data_dir = publishing.folder(args.data_dir)
    final = data_dir / args.dataset / name / str(builder_cls.VERSION)
    started = time.monotonic()
    there = publishing.is_there(final / publishing.LAST if not publishing.is_local(final) else final)
    if there and not args.overwrite:
        _check_same_settings(final, settings, builder_cls)
        print(f"{final}: already prepared with these settings; if the files have changed, add --overwrite")
    else:
        if manual_dir and not (os.path.isdir(manual_dir) and os.listdir(manual_dir)):  # before TFDS meets it
            layouts.find_subjects(pathlib.Path(manual_dir))
        prepare(
            builder_cls,
            config,
            manual_dir,
            data_dir,
            getattr(args, "beam_pipeline_options", None),
            overwrite=args.overwrite,
        )
    _summarise(args.dataset, name, final, data_dir, time.monotonic() - started)
    return 0


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
    options = _beam_options(beam_options)
    with publishing.staging(data_dir, f"{builder_cls.name}-{config_name}", shared=beam_options is not None) as staging:
        try:
            builder = builder_cls(data_dir=os.fspath(staging), config=config)
            builder.use_beam = beam_options is not None
            download = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_options=options)
            with contextlib.redirect_stdout(io.StringIO()):
                builder.download_and_prepare(download_dir=staging / "downloads", download_config=download)
            built = epath.Path(builder.data_dir)
            _make_canonical(built)
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
    return PipelineOptions(flags=[f"--{option}" for option in _names(text)])


def _make_canonical(folder: epath.Path) -> None:
    """Gives every record its one canonical form: protobuf writes the features of an example in a random order."""
    import tensorflow as tf

    for path in sorted(folder.glob("*.tfrecord-*")):
        rewritten = path.parent / f"canonical-{path.name}"
        with tf.io.TFRecordWriter(os.fspath(rewritten)) as writer:
            for record in tf.data.TFRecordDataset(os.fspath(path)).as_numpy_iterator():
                writer.write(tf.train.Example.FromString(record).SerializeToString(deterministic=True))
        rewritten.replace(path)


def _builder_class(dataset: str) -> Any:
    from absl import logging

    logging.set_verbosity(logging.ERROR)
    module = importlib.import_module(f"data.{dataset}.{dataset}_dataset_builder")
    import tensorflow_datasets as tfds

    tfds.disable_progress_bar()  # the builders show their own, over subjects
    return module.Builder


def _request(args: argparse.Namespace, builder_cls: Any) -> tuple[Any, str | None, dict[str, Any] | None]:
    """(config, manual_dir, settings to compare with those of a dataset already there)."""
    if args.dataset == "brain_phantom":
        if args.config not in builder_cls.builder_configs:
            known = " or ".join(builder_cls.builder_configs)
            raise errors.UserError(f"--config={args.config}: unknown; choose {known}")
        return args.config, None, None
    own = {
        key: value
        for key, value in vars(args).items()
        if key not in ("dataset", "source", "data_dir", "name", "overwrite", "beam_pipeline_options")
    }
    for source in args.source:
        if "://" in source:
            raise errors.UserError(f"--source={source}: images are read from local folders; copy them to a disk first")
    sources = [os.path.realpath(source) for source in args.source]
    if args.dataset == "image_pairs":
        own["sources"] = tuple(sources)
        own["modalities"] = args.modalities or tuple(pathlib.Path(source).name for source in sources)
        manual_dir, source = None, ""
    elif len(sources) != 1:
        raise errors.UserError("--source: brats takes one folder, which may hold several collections; give it once")
    else:
        own["modalities"] = layouts.parse_modalities(args.modalities)
        manual_dir = source = sources[0]
    name = args.name or "_".join(own["modalities"])
    if not re.fullmatch(r"[\w.-]*\w", name, re.ASCII):
        raise errors.UserError(f"--name={name}: not a name for a folder; use letters, digits, '_', '-' and '.'")
    config_cls = type(builder_cls.BUILDER_CONFIGS[0])
    config = config_cls(name=name, **own)
    settings = config.settings(source)
    registered = builder_cls.builder_configs.get(name)
    if registered is None:
        return config, manual_dir, settings
    if registered.settings(source) != settings:
        raise errors.UserError(f"--name={name}: stands for the default settings, these differ; choose another name")
    return name, manual_dir, settings


def _check_same_settings(final: epath.Path, settings: dict[str, Any] | None, builder_cls: Any) -> None:
    """Raises `UserError` if the dataset already there was prepared in another way."""
    try:
        before = json.loads((final / "metadata.json").read_text()).get("settings")
        if before is not None:  # a setting that came later had its default
            before = builder_cls.BUILDER_CONFIGS[0].settings("") | before
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise errors.UserError(
            f"{final}: its metadata.json cannot be read; prepare it again with --overwrite"
        ) from error
    if settings is None or before == settings:
        return
    changed = [
        f"{key} {(before or {}).get(key)} -> {value}"
        for key, value in settings.items()
        if (before or {}).get(key) != value
    ]
    raise errors.UserError(
        f"{final}: already prepared with other settings ({', '.join(changed)}); choose another "
        "--name, or replace it with --overwrite"
    )


def _summarise(dataset: str, name: str, final: epath.Path, data_dir: epath.Path, seconds: float) -> None:
    from fusioninn_jax import input_pipeline

    builder = input_pipeline.open_folder(final).builder
    metadata = json.loads((final / "metadata.json").read_text())
    subjects = metadata.get("counts", {}).get("subjects", {})
    print(
        "slices: "
        + ", ".join(
            f"{info.num_examples} {split}" + (f" ({subjects[split]} subjects)" if split in subjects else "")
            for split, info in builder.info.splits.items()
        )
    )
    for line in summary.lines(metadata):
        print(line)
    print(f"prepared: {final} ({seconds:.0f} s)")
    print(
        f"next: python -m fusioninn_jax.train --config=configs/{TRAIN_CONFIG[dataset]}.py "
        f"--config.data.dataset={dataset}/{name} --config.data.data_dir={data_dir} --workdir=runs/{name}"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _labels(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _names(text))


def _parser() -> argparse.ArgumentParser:
    parser = errors.Parser(prog="python -m data.prepare", description=__doc__, examples=EXAMPLES["all"])
    commands = parser.add_subparsers(dest="dataset", required=True, metavar="{brats,image_pairs,brain_phantom}")

    def command(name: str, description: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=description, description=description, allow_abbrev=False, examples=EXAMPLES[name]
        )
        sub.add_argument("--data_dir", default="runs/data", help="where prepared datasets lie")
        sub.add_argument("--overwrite", action="store_true", help="replace a dataset of the same name")
        return sub

    phantom = command("brain_phantom", "simulated tumours in a real brain's anatomy; needs no files")
    phantom.add_argument("--config", default="default", help="default or tiny")
    _brats_options(command("brats", "BraTS 2018-2024, MSD Task01 or the authors' HDF5"))
    _pairs_options(command("image_pairs", "two or more folders of equally named PNG, JPEG, TIFF, BMP or GIF"))
    return parser


def _common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="of the prepared dataset; unset: the modalities, joined by _")
    parser.add_argument("--val_fraction", type=float, help="for validation; unset: 0.1, by slice 1153/9653")
    parser.add_argument("--test_fraction", type=float, default=0.0, help="for test")
    parser.add_argument("--seed", type=int, default=0, help="of the random split")


def _brats_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", action="append", required=True, help="the unpacked data, searched recursively")
    parser.add_argument(
        "--modalities",
        type=_names,
        default="t1gd,flair",
        help="two or more of t1, t1gd, t2, flair, in the order of the channels",
    )
    _common_options(parser)
    parser.add_argument(
        "--required_labels",
        type=_labels,
        default="1,2",
        help="labels that an annotated slice must hold; empty: judge by the brain",
    )
    parser.add_argument(
        "--min_brain_fraction",
        type=float,
        default=0.05,
        help="of the pixels, where there is no annotation or no required label",
    )
    parser.add_argument("--split_by", default="patient", help="patient, or slice as in the paper")
    parser.add_argument("--test_subjects", type=_names, default="", help="named instead of drawn, comma-separated")
    parser.add_argument("--validation_subjects", type=_names, default="", help="likewise")
    parser.add_argument("--skip_bad", action="store_true", help="leave bad subjects out instead of failing")
    parser.add_argument("--strict", action="store_true", help="negative voxels are an error")
    parser.add_argument(
        background.OPTION,
        type=_names,
        default="auto",
        help="auto: the value of the border, where parts of the brain lie below it (volumes that are "
        "normalised already); minimum; or the value; one for all modalities, or one for each",
    )
    parser.add_argument(
        "--masks",
        type=_names,
        default="",
        metavar="PATTERN,...",
        help="files so named, e.g. '*_labels.nii.gz', are the masks of the subjects beside them",
    )
    parser.add_argument("--ignore", type=_names, default="", metavar="PATTERN,...", help="leave files so named alone")
    parser.add_argument(
        "--patient_pattern",
        default="",
        metavar="REGEX",
        help="its first group is the patient in a subject's name, e.g. '(P[0-9]+)'; unset: visits are "
        "told by the namings that are known",
    )
    parser.add_argument(
        "--beam_pipeline_options",
        metavar="KEY=VALUE,...",
        help="write by Apache Beam, e.g. runner=DirectRunner,direct_num_workers=8; data_dir and source "
        "must then be a file system that all workers see",
    )


def _pairs_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", action="append", required=True, help="a folder of images; once per modality")
    parser.add_argument("--modalities", type=_names, help="a name for each source; unset: its folder's name")
    _common_options(parser)


if __name__ == "__main__":
    errors.cli(main)
