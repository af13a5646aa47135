"""Prepares a dataset once: `python -m data.prepare {brats,image_pairs,brain_phantom} [--help]`.

The result lies in {data_dir}/{dataset}/{name}/{version} and appears there only once it is whole.
"""

from __future__ import annotations

import argparse
import importlib
import os
import pathlib
import re
import time
from collections.abc import Sequence
from typing import Any

from etils import epath

from data import building, options, publishing, summary
from data.brats import layouts
from fusioninn_jax import prepared_data
from fusioninn_jax.runtime import errors, guarded, places, quiet_tensorflow  # noqa: F401  before TensorFlow

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

TRAIN_CONFIG = {"brats": "brats", "image_pairs": "default", "brain_phantom": "phantom"}


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line, `argv` or the process's, prepares, prints a summary; returns the exit code."""
    args = options.parser(__doc__).parse_args(argv)
    builder_cls = _builder_class(args.dataset)
    config, manual_dir, settings = _request(args, builder_cls)
    name = config if isinstance(config, str) else config.name
    data_dir = places.folder(args.data_dir, "--data_dir")
    final = data_dir / args.dataset / name / str(builder_cls.VERSION)
    started = time.monotonic()
    there = publishing.is_there(final / publishing.LAST if not publishing.is_local(final) else final)
    if there and not args.overwrite:
        _check_same_settings(final, settings, builder_cls)
        print(f"{final}: already prepared with these settings; if the files have changed, add --overwrite")
    else:
        publishing.check_replaceable(final, [os.path.realpath(source) for source in getattr(args, "source", ())])
        if manual_dir and not (os.path.isdir(manual_dir) and os.listdir(manual_dir)):  # before TFDS meets it
            layouts.find_subjects(pathlib.Path(manual_dir))
        building.prepare(
            builder_cls,
            config,
            manual_dir,
            data_dir,
            getattr(args, "beam_pipeline_options", None),
            overwrite=args.overwrite,
        )
    _summarise(args.dataset, name, final, data_dir, time.monotonic() - started)
    return 0


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
            known = ", ".join(builder_cls.builder_configs)
            raise errors.UserError(f"--config={args.config}: unknown; choose one of {known}")
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
        before = guarded.read_json(final / prepared_data.METADATA).get("settings")
        if before is not None:  # a setting that came later had its default
            before = builder_cls.BUILDER_CONFIGS[0].settings("") | before
    except (errors.UserError, OSError, ValueError, AttributeError, TypeError) as error:
        raise errors.UserError(
            f"{final}: its {prepared_data.METADATA} cannot be read; prepare it again with --overwrite"
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
    metadata = guarded.read_json(final / prepared_data.METADATA)
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


if __name__ == "__main__":
    errors.cli(main)
