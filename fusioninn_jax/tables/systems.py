"""The systems of a table: trained where they are missing, loaded, and scored on one split, each score kept."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import importlib.util
import json
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import jax
import ml_collections

from fusioninn_jax import input_pipeline, settings, train, trained_model
from fusioninn_jax.runtime import command_line, guarded
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.scoring import score_table
from fusioninn_jax.scoring.score_split import Scoring, score_model
from fusioninn_jax.trained_model import TrainedModel
from fusioninn_jax.training import checkpoint, checkpoint_folders, integrity
from fusioninn_jax.training.train_log import TRAIN_FILE, read_lines


class System(NamedTuple):
    """A system that can be scored.

    Attributes:
      label: its name in tables, unique among those compared.
      trained: the model; with the default configuration where it is training-free.
      workdir: where it was trained, or None.
    """

    label: str
    trained: TrainedModel
    workdir: pathlib.Path | None

    @property
    def name(self) -> str:
        """As in `models.get`."""
        return self.trained.name

    @property
    def training_seconds(self) -> float | None:
        """What the training's log adds up to; None where there is none."""
        records = read_lines(self.workdir / TRAIN_FILE) if self.workdir else []
        return sum(record.get("seconds", 0.0) for record in records) or None


def load_sweep(path: str) -> ModuleType:
    """The module of the sweep in the file `path`, as those in configs/sweeps/.

    Raises:
      UserError: no such file, or it is not a sweep.
    """
    spec = importlib.util.spec_from_file_location("sweep", path) if pathlib.Path(path).is_file() else None
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: no such sweep; choose one of those in configs/sweeps/")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "RUNS") or not hasattr(module, "get_config"):
        raise UserError(f"{path}: not a sweep; it needs RUNS and get_config, as configs/sweeps/table2.py")
    return module


def train_missing(
    sweep: ModuleType, names: Iterable[str], root: pathlib.Path, base: str, overrides: Iterable[str]
) -> dict[str, pathlib.Path]:
    """Trains those runs of a sweep that are not finished under `root`, each resuming where it stopped.

    Args:
      sweep: from `load_sweep`.
      names: of the runs.
      root: gets a workdir a run.
      base: another base configuration than the sweep's own, or "".
      overrides: `--config.KEY=VALUE`, for every run.

    Returns:
      the workdir of each run.

    Raises:
      UserError: a bad setting, or a finished run that had other settings.
    """
    workdirs: dict[str, pathlib.Path] = {}
    names = list(names)
    for number, name in enumerate(names, 1):
        try:
            config = sweep.get_config(f"{name},{base}" if base else name)
        except ValueError as error:
            raise UserError(str(error)) from error
        command_line.override(config, overrides)
        workdirs[name] = root / name
        _check_same_run(workdirs[name], config)
        newest = checkpoint_folders.newest_step(workdirs[name])
        if config.train.epochs or newest is None or newest < config.train.steps:
            print(f"run {number} of {len(names)}: training {name} in {workdirs[name]}", flush=True)
            try:
                train.train_and_evaluate(config, str(workdirs[name]))
            except ValueError as error:
                raise UserError(str(error)) from error
            jax.clear_caches()  # else the code compiled for some thirty runs uses up a process's memory maps
    return workdirs


def _settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a run that run: key -> value."""
    name = config["model"]["name"]
    parts = {
        f"model.{name}": config["model"].get(name, {}),
        "losses": config["losses"],
        "optimizer": config["optimizer"],
    }
    flat = {"model.name": name, "data.dataset": config["data"]["dataset"]}
    flat |= {
        f"{part}.{key}": value
        for part, settings in parts.items()
        for key, value in settings.items()
        if key != "permutations"
    }  # they follow from the others
    return flat if config["train"]["epochs"] else flat | {"train.steps": config["train"]["steps"]}


def _check_same_run(workdir: pathlib.Path, config: ml_collections.ConfigDict) -> None:
    """Raises UserError where `workdir` holds a run that was told something else than `config`."""
    file = workdir / "config.json"
    if not file.exists():
        return
    with guarded.reading(file, "is not the configuration of a run", "give another --root"):
        saved = _settings(guarded.read_json(file))
    for key, ours in _settings(json.loads(train.settle(config).to_json())).items():
        if saved.get(key, ours) != ours:
            raise UserError(
                f"{workdir}: holds a run with {key}={saved[key]!r}, {ours!r} is asked for; "
                "give another --root or that setting"
            )


def load(
    workdirs: Iterable[pathlib.Path], training_free: Iterable[str], labels: dict[pathlib.Path, str] | None = None
) -> list[System]:
    """Trained systems (their best checkpoints) and training-free ones.

    Args:
      workdirs: of trainings.
      training_free: names.
      labels: of the workdirs; by default a system's name, with the folder's where a name comes twice.

    Raises:
      UserError: a workdir without checkpoint, or a system that needs training.
    """
    workdirs, found = list(workdirs), []
    loaded = [checkpoint.load(workdir) for workdir in workdirs]
    count = Counter(trained.name for trained in loaded)
    for workdir, trained in zip(workdirs, loaded, strict=True):
        name = trained.name
        label = (labels or {}).get(workdir) or (name if count[name] == 1 else f"{name} ({workdir.name})")
        found.append(System(label, trained, workdir))
    for name in training_free:
        try:
            found.append(System(name, trained_model.training_free(name), None))
        except ValueError as error:
            raise UserError(str(error)) from error
    return found


def data_config(systems: list[System], dataset: str | None, data_dir: str | None) -> ml_collections.ConfigDict:
    """The configuration that says on what data all are scored: that of the trained systems, or as asked for.

    Args:
      systems: all of them.
      dataset: name/config of a prepared dataset; None: the one trained on.
      data_dir: where datasets are prepared; None: as in training.

    Raises:
      UserError: they were trained on different datasets, or on none, and no `dataset` is given.
    """
    configs = [system.trained.config for system in systems if system.workdir]
    datasets = sorted({config.data.dataset for config in configs})
    if not dataset and len(datasets) != 1:
        raise UserError(
            f"the systems were trained on {', '.join(datasets) or 'nothing'}; say with --dataset what to score them on"
        )
    config = ml_collections.ConfigDict((configs or [settings.defaults()])[0])
    config.data.dataset = dataset or config.data.dataset
    config.data.data_dir = data_dir or config.data.data_dir
    return config


def scores(
    system: System,
    prepared: input_pipeline.Prepared,
    data: ml_collections.ConfigDict,
    scoring: Scoring,
    folder: pathlib.Path,
) -> tuple[list[score_table.Row], score_table.Further]:
    """Scores of every image of the split, and what is not of one image; taken from `folder` where they are there.

    Args:
      system: to be scored.
      prepared: the dataset.
      data: the configuration whose `data` says how it is read.
      scoring: what is scored.
      folder: keeps the scores, with what they are of: another checkpoint or split is scored anew.
    """
    split = prepared.builder.info.splits.get(scoring.split)
    key = {
        "system": system.name,
        "workdir": str(system.workdir and os.path.realpath(system.workdir)),
        "step": system.trained.step,
        "weights": integrity.checksum(system.trained.variables),
        "data": os.fspath(prepared.builder.data_dir),
        "bytes": split and split.num_bytes,  # of data prepared anew in that folder
        "normalisation": data.data.normalisation,
        "split": scoring.split,
        "metrics": scoring.metrics,
        "limit": scoring.limit,
        "slices": prepared.sizes.get(scoring.split),
    }
    stem = "".join(character if character.isalnum() else "_" for character in system.label)
    table, record = folder / f"{stem}.csv", folder / f"{stem}.json"
    if table.exists() and record.exists():
        with guarded.reading(record, "is not as it was written", "remove it, and its slices are scored again"):
            kept = guarded.read_json(record)
            if kept["of"] == key and "conspicuity" in kept:
                return _read_rows(table), {name: value for name, value in kept.items() if name != "of"}
    rows, further = score_model(system.label, system.trained, prepared, data.data, scoring)
    jax.clear_caches()  # as in train_missing
    score_table.write_csv(table, rows)
    score_table.write_json(record, {"of": key, **further})
    return rows, further


def _read_rows(path: pathlib.Path) -> list[score_table.Row]:
    with path.open(newline="") as file:
        return [
            {
                name: value if name in ("system", "subject") else int(value) if name == "slice_index" else float(value)
                for name, value in row.items()
            }
            for row in csv.DictReader(file)
        ]


@dataclasses.dataclass(frozen=True)
class TableRequest:
    """What every table is asked for.

    Attributes:
      root: folder of a sweep's workdirs, one a run; None for one that the sweep names.
      base: another base configuration for a sweep than its own, or "".
      split: what is scored.
      dataset: name/config of a prepared dataset; None for the one trained on.
      data_dir: where datasets are prepared; None for where they were in training.
      limit: score no more than about this many slices; 0: all.
      batch_size: of scoring.
      out: folder of the results; None for one beside the runs.
    """

    root: pathlib.Path | None = None
    base: str = ""
    split: str = "test"
    dataset: str | None = None
    data_dir: str | None = None
    limit: int = 0
    batch_size: int = 8
    out: pathlib.Path | None = None

    def scoring(self, metrics: str) -> Scoring:
        """What is scored by `metrics`, a name of `image_scores.METRIC_SETS`."""
        return Scoring(self.split, metrics, self.batch_size, self.limit)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives `parser` what every table takes."""
    parser.add_argument(
        "--root",
        type=pathlib.Path,
        help="folder of the sweep's workdirs, one a run; default: runs/ and the sweep's name",
    )
    parser.add_argument("--base", default="", help="another base configuration for the sweep, e.g. paper")
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument("--dataset", help="name/config of a prepared dataset; default: the one trained on")
    parser.add_argument("--data-dir", help="where datasets are prepared; default: as in training")
    parser.add_argument("--limit", type=int, default=0, help="score no more than about this many slices; 0: all")
    parser.add_argument("--batch-size", type=int, default=8, help="slices at a time")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the results; default: beside the runs")


def request(args: argparse.Namespace) -> TableRequest:
    """What `args`, those of `add_arguments`, ask for."""
    return TableRequest(**{field.name: getattr(args, field.name) for field in dataclasses.fields(TableRequest)})
