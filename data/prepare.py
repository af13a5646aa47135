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
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from data.brats import layouts
from fusioninn_jax.runtime import errors

# Before TensorFlow is imported: its start-up notes would bury the one line that a user has to read.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

TRAIN_CONFIG = {"brats": "brats", "image_pairs": "default", "brain_phantom": "phantom"}
SHOWN = 10  # names in a line of the summary


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line, prepares, prints a summary; returns the exit code."""
    args = _parser().parse_args(argv)
    builder_cls = _builder_class(args.dataset)
    config, manual_dir, settings = _request(args, builder_cls)
    name = config if isinstance(config, str) else config.name
    data_dir = pathlib.Path(args.data_dir)
    final = data_dir / args.dataset / name / str(builder_cls.VERSION)
    started = time.monotonic()
    if final.exists() and not args.overwrite:
        _check_same_settings(final, settings)
        print(f"{final}: already prepared with these settings; if the files have changed, add --overwrite")
    else:
        if manual_dir:
            layouts.find_subjects(pathlib.Path(manual_dir))  # before TFDS meets a missing or empty folder
        prepare(builder_cls, config, manual_dir, data_dir, getattr(args, "beam_pipeline_options", None))
    _summarise(args.dataset, name, final, data_dir, time.monotonic() - started)
    return 0


def prepare(builder_cls: Any, config: Any, manual_dir: str | None, data_dir: pathlib.Path,
            beam_options: str | None = None) -> pathlib.Path:
    """Builds into a hidden folder of data_dir, then renames; replaces what is already there.

    Args:
      builder_cls: a TFDS builder class.
      config: a BuilderConfig, or the name of one of the class's.
      manual_dir: the folder that the builder reads, None where it needs none.
      data_dir: where prepared datasets lie.
      beam_options: of a Beam pipeline, as `_beam_options` takes them; None: all in this process.

    Returns:
      The folder of the prepared dataset.

    Raises:
      UserError: bad data, or a data_dir that cannot be written. Nothing is left behind.
    """
    import tensorflow_datasets as tfds

    config_name = config if isinstance(config, str) else config.name
    staging = data_dir / f".preparing-{builder_cls.name}-{config_name}"
    try:
        shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
        staging.mkdir(parents=True)
        builder = builder_cls(data_dir=staging, config=config)
        builder.use_beam = beam_options is not None
        download = tfds.download.DownloadConfig(manual_dir=manual_dir, beam_options=_beam_options(beam_options))
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare(download_dir=staging / "downloads", download_config=download)
        _make_canonical(pathlib.Path(builder.data_dir))
        final = data_dir / pathlib.Path(builder.data_dir).relative_to(staging)
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists():
            final.rename(staging / "replaced")
        pathlib.Path(builder.data_dir).rename(final)
    except OSError as error:  # the builders turn errors of reading into UserError
        raise errors.UserError(f"{data_dir}: cannot be written ({error}); choose another --data_dir or free space"
                               ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return final


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
        raise errors.UserError("--beam_pipeline_options: needs Apache Beam; pip install 'fusioninn_jax[beam]'"
                               ) from error
    return PipelineOptions(flags=[f"--{option}" for option in _names(text)])


def _make_canonical(folder: pathlib.Path) -> None:
    """Gives every record its one canonical form: protobuf writes the features of an example in a random order."""
    import tensorflow as tf

    for path in sorted(folder.glob("*.tfrecord-*")):
        rewritten = path.with_name(f"canonical-{path.name}")
        with tf.io.TFRecordWriter(str(rewritten)) as writer:
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                writer.write(tf.train.Example.FromString(record).SerializeToString(deterministic=True))
        rewritten.rename(path)


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
    own = {key: value for key, value in vars(args).items()
           if key not in ("dataset", "source", "data_dir", "name", "overwrite", "beam_pipeline_options")}
    sources = [str(pathlib.Path(source).resolve()) for source in args.source]
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


def _check_same_settings(final: pathlib.Path, settings: dict[str, Any] | None) -> None:
    """Raises `UserError` if the dataset already there was prepared in another way."""
    try:
        before = json.loads((final / "metadata.json").read_text()).get("settings")
    except (OSError, ValueError) as error:
        raise errors.UserError(f"{final}: its metadata.json cannot be read; prepare it again with --overwrite"
                               ) from error
    if settings is None or before == settings:
        return
    changed = [f"{key} {(before or {}).get(key)} -> {value}" for key, value in settings.items()
               if (before or {}).get(key) != value]
    raise errors.UserError(f"{final}: already prepared with other settings ({', '.join(changed)}); choose another "
                           "--name, or replace it with --overwrite")


def _summarise(dataset: str, name: str, final: pathlib.Path, data_dir: pathlib.Path, seconds: float) -> None:
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(final)
    counts = json.loads((final / "metadata.json").read_text()).get("counts", {})
    subjects = counts.get("subjects", {})
    print("slices: " + ", ".join(f"{info.num_examples} {split}" + (f" ({subjects[split]} subjects)" if split in subjects
                                                                    else "")
                                 for split, info in builder.info.splits.items()))
    if counts.get("files_not_understood"):
        print(f"image files passed over, their naming not being understood: {counts['files_not_understood']}")
    if counts.get("subjects_without_slices"):
        print(f"subjects of which no slice is kept: {counts['subjects_without_slices']}")
    negative = counts.get("negative_voxels", {})
    if negative:
        listed = [f"{subject} {count}" for subject, count in list(negative.items())[:SHOWN]]
        print(f"negative voxels clipped to 0: {sum(negative.values())} in {len(negative)} subjects: {', '.join(listed)}"
              + (", ..." if len(negative) > SHOWN else ""))
    for subject, reason in counts.get("skipped", {}).items():
        print(f"skipped {subject}: {reason}")
    print(f"prepared: {final} ({seconds:.0f} s)")
    print(f"next: python -m fusioninn_jax.train --config=configs/{TRAIN_CONFIG[dataset]}.py "
          f"--config.data.dataset={dataset}/{name} --config.data.data_dir={data_dir} --workdir=runs/{name}")


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _labels(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in _names(text))


def _parser() -> argparse.ArgumentParser:
    parser = errors.Parser(prog="python -m data.prepare", description=__doc__)
    commands = parser.add_subparsers(dest="dataset", required=True, metavar="{brats,image_pairs,brain_phantom}")

    def command(name: str, description: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=description, description=description, allow_abbrev=False,
                                  formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        sub.add_argument("--data_dir", default="runs/data", help="where prepared datasets lie")
        sub.add_argument("--overwrite", action="store_true", help="replace a dataset of the same name")
        return sub

    phantom = command("brain_phantom", "simulated tumours in a real brain's anatomy; needs no files")
    phantom.add_argument("--config", default="default", help="default or tiny")
    _brats_options(command("brats", "BraTS 2018-2024, MSD Task01 or the authors' HDF5"))
    _pairs_options(command("image_pairs", "two or more folders of equally named PNG or TIFF"))
    return parser


def _common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="of the prepared dataset; unset: the modalities, joined by _")
    parser.add_argument("--val_fraction", type=float, help="for validation; unset: 0.1, by slice 1153/9653")
    parser.add_argument("--test_fraction", type=float, default=0.0, help="for test")
    parser.add_argument("--seed", type=int, default=0, help="of the random split")


def _brats_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", action="append", required=True, help="the unpacked data, searched recursively")
    parser.add_argument("--modalities", type=_names, default="t1gd,flair",
                        help="two or more of t1, t1gd, t2, flair, in the order of the channels")
    _common_options(parser)
    parser.add_argument("--required_labels", type=_labels, default="1,2",
                        help="labels that an annotated slice must hold; empty: judge by the brain")
    parser.add_argument("--min_brain_fraction", type=float, default=0.05,
                        help="of the pixels, where there is no annotation or no required label")
    parser.add_argument("--split_by", default="patient", help="patient, or slice as in the paper")
    parser.add_argument("--test_subjects", type=_names, default="", help="named instead of drawn, comma-separated")
    parser.add_argument("--validation_subjects", type=_names, default="", help="likewise")
    parser.add_argument("--skip_bad", action="store_true", help="leave bad subjects out instead of failing")
    parser.add_argument("--strict", action="store_true", help="negative voxels are an error")
    parser.add_argument("--beam_pipeline_options", metavar="KEY=VALUE,...",
                        help="write by Apache Beam, e.g. runner=DirectRunner,direct_num_workers=8; data_dir and source "
                        "must then be a file system that all workers see")


def _pairs_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", action="append", required=True, help="a folder of images; once per modality")
    parser.add_argument("--modalities", type=_names, help="a name for each source; unset: its folder's name")
    _common_options(parser)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what is half-written is removed
    errors.cli(main)
