"""Evaluation: `python -m fusioninn_jax.evaluate --workdir=runs/x [--split=test]`.

Scores a trained model, training-free systems (`--model=mean`) and folders of images that other methods fused
(`--fused-dir=NAME=FOLDER`), all on the same split, into one table: CSV, JSON and Markdown. Several processes
(docs/SCALING.md) share the slices; the table does not depend on how many they are.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import ml_collections
from etils import epath

from fusioninn_jax import input_pipeline, models, settings
from fusioninn_jax.runtime import compilation_cache, outputs, processes
from fusioninn_jax.runtime.command_line import one_line
from fusioninn_jax.runtime.errors import Parser, UserError
from fusioninn_jax.scoring import image_scores, score_table, terminal_table
from fusioninn_jax.scoring.fused_images import Range, parse_range
from fusioninn_jax.scoring.score_split import Scoring, score_folder, score_model
from fusioninn_jax.trained_model import TrainedModel, training_free
from fusioninn_jax.training import checkpoint

EXAMPLES = """
python -m fusioninn_jax.evaluate --workdir=runs/brats --split=test
python -m fusioninn_jax.evaluate --workdir=runs/brats --model=mean --model=wavelet --metrics=all
python -m fusioninn_jax.evaluate --fused-dir=mine=FOLDER --dataset=brats/t1gd_flair --out=runs/mine
"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m fusioninn_jax.evaluate", description=__doc__, examples=EXAMPLES, epilog=compilation_cache.HELP
    )
    _add_systems(parser)
    _add_data(parser)
    _add_results(parser)
    args = parser.parse_args(argv)
    _check(parser, args)
    return args


def _add_systems(parser: Parser) -> None:
    """What is scored."""
    parser.add_argument("--workdir", help="of a training; its dataset is scored unless --dataset says otherwise")
    parser.add_argument(
        "--checkpoint",
        choices=("best", "last"),
        default="best",
        help="of the training: of the lowest validation loss, or the last",
    )
    parser.add_argument("--sampling-steps", type=int, help="of a trained DDFM; default: as its configuration says")
    parser.add_argument("--model", action="append", default=[], help="a training-free system, e.g. mean; repeatable")
    parser.add_argument(
        "--fused-dir",
        action="append",
        default=[],
        metavar="NAME=FOLDER",
        help="images fused by another method, named SUBJECT_SLICE.png (see --save-fused); repeatable",
    )
    parser.add_argument(
        "--fused-range",
        action="append",
        default=[],
        metavar="[NAME=]BLACK,WHITE",
        help="of the images in --fused-dir; default: all that their integers hold, 0,1 of floats",
    )


def _add_data(parser: Parser) -> None:
    """On which slices."""
    parser.add_argument("--split", default="validation", help="train, validation or test")
    parser.add_argument("--dataset", help="name/config of a prepared dataset")
    parser.add_argument("--data-dir", help="where datasets are prepared; default: as in training, or runs/data")
    parser.add_argument("--batch-size", type=int, default=8, help="slices at a time")
    parser.add_argument(
        "--limit", type=int, default=0, help="score no more than about this many slices, evenly spread; 0: all"
    )


def _add_results(parser: Parser) -> None:
    """By what, and what is kept."""
    parser.add_argument(
        "--metrics",
        choices=sorted(image_scores.METRIC_SETS),
        help="all (the default; given, every score is printed), ssim, table1: the paper's five, "
        "or evaluator: the numbers of the evaluator published with CDDFuse",
    )
    parser.add_argument("--save-fused", metavar="FOLDER", help="keep the fused images as 8-bit PNG")
    parser.add_argument("--out", help="folder of the results; default: WORKDIR/evaluation/SPLIT")


def _check(parser: Parser, args: argparse.Namespace) -> None:
    """Raises UserError for arguments that do not go together."""
    if not (args.workdir or args.model or args.fused_dir):
        parser.error("nothing to score; give --workdir, --model or --fused-dir")
    if not args.workdir and not (args.dataset and args.out):
        parser.error("without --workdir, --dataset and --out are needed")
    if args.batch_size < 1 or args.limit < 0 or (args.sampling_steps or 1) < 1:
        parser.error("--batch-size and --sampling-steps are 1 or more, --limit is 0 or more")
    if args.save_fused and "://" in args.save_fused:
        parser.error(f"--save-fused={args.save_fused}: images are written to local folders; give one")


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `evaluate` is asked for.

    Attributes:
      workdir: of a training, if any.
      checkpoint: which of it: `best` or `last`.
      sampling_steps: of a trained DDFM; None for what its configuration says.
      models: names of training-free systems.
      folders: `NAME=FOLDER` of images that other methods fused.
      ranges: `[NAME=]BLACK,WHITE` of those images.
      dataset: name/config of a prepared dataset; None for the one trained on.
      data_dir: where datasets are prepared; None for where they were in training.
      scoring: what is scored, and how; without the ranges.
      out: folder of the results.
      everything: print every score, not only what fits a terminal.
    """

    workdir: str | None
    checkpoint: str
    sampling_steps: int | None
    models: tuple[str, ...]
    folders: tuple[str, ...]
    ranges: tuple[str, ...]
    dataset: str | None
    data_dir: str | None
    scoring: Scoring
    out: str
    everything: bool


def _wishes(args: argparse.Namespace) -> Evaluation:
    save_fused = pathlib.Path(args.save_fused) if args.save_fused else None
    # what the evaluator prints replaces no evaluation, which `report run` shows
    results = f"{args.split}_evaluator" if args.metrics == "evaluator" else args.split
    return Evaluation(
        workdir=args.workdir,
        checkpoint=args.checkpoint,
        sampling_steps=args.sampling_steps,
        models=tuple(args.model),
        folders=tuple(args.fused_dir),
        ranges=tuple(args.fused_range),
        dataset=args.dataset,
        data_dir=args.data_dir,
        scoring=Scoring(args.split, args.metrics or "all", args.batch_size, args.limit, save_fused),
        out=args.out or os.path.join(args.workdir, "evaluation", results),
        everything=args.metrics == "all",
    )


def _folders(given: Sequence[str], taken: Sequence[str]) -> dict[str, pathlib.Path]:
    """Name of each method -> folder of its fused images.

    Raises:
      UserError: a name that is none, or that two systems have.
    """
    folders: dict[str, pathlib.Path] = {}
    for item in given:
        chosen, _, folder = item.rpartition("=")
        name = chosen or pathlib.Path(os.path.realpath(folder)).name
        if not name or "/" in name or name in (".", ".."):
            raise UserError(f"--fused-dir={item}: {name!r} names no method; give --fused-dir=NAME=FOLDER")
        if name in folders or name in taken:
            raise UserError(f"--fused-dir={item}: another system is called {name} already; give it a name of its own")
        folders[name] = pathlib.Path(folder)
    return folders


def _ranges(given: Sequence[str], folders: Mapping[str, pathlib.Path]) -> dict[str, Range]:
    ranges = {}
    for item in given:
        name, _, text = item.rpartition("=")
        if name and name not in folders:
            raise UserError(
                f"--fused-range={item}: no --fused-dir is called {name}; there are {', '.join(folders) or 'none'}"
            )
        ranges[name] = parse_range(text)
    return ranges


def _check_kept(kept: pathlib.Path, systems: Sequence[str], folders: Mapping[str, pathlib.Path]) -> None:
    """Raises UserError where images that are kept would replace those of another method."""
    for system in systems:
        for name, folder in folders.items():
            if os.path.realpath(kept / system) == os.path.realpath(folder):
                raise UserError(
                    f"--save-fused={kept}: {kept / system} is the folder of --fused-dir={name}, whose images would be "
                    "replaced; choose another folder"
                )


def _with_steps(trained: TrainedModel, steps: int) -> TrainedModel:
    """The model, sampling in this many steps."""
    of_model = trained.config.model[trained.name]
    if "steps" not in of_model:
        raise UserError(f"--sampling-steps={steps}: {trained.name} does not sample; leave it out")
    of_model.steps = steps
    return trained._replace(model=models.get(trained.name, of_model))


def _load(asked: Evaluation) -> tuple[dict[str, TrainedModel], ml_collections.ConfigDict]:
    """The systems to run, and the configuration that says on what data."""
    systems, config = {}, settings.defaults()
    if asked.workdir:
        trained = checkpoint.load(asked.workdir, asked.checkpoint)
        if asked.sampling_steps:
            trained = _with_steps(trained, asked.sampling_steps)
        systems[trained.name], config = trained, trained.config
        if processes.is_first():
            print(f"{asked.workdir}: {asked.checkpoint} checkpoint, step {trained.step}")
    for name in asked.models:
        if name in systems:
            raise UserError(f"--model={name}: is scored already; name it once")
        systems[name] = training_free(name)
    with config.unlocked():
        config.data.dataset = asked.dataset or config.data.dataset
        config.data.data_dir = asked.data_dir or config.data.data_dir
    return systems, config


def _write(out: epath.Path, rows: list[score_table.Row], report: dict[str, Any], asked: Evaluation) -> None:
    """Writes the tables, and prints everything or what fits a terminal."""
    text, replaced = score_table.markdown(report), _replaced(out, report)
    score_table.write_csv(out / "scores.csv", rows)
    score_table.write_patients(out / "patients.csv", report["systems"])
    score_table.write_json(out / "summary.json", report)
    outputs.write_text(out / "summary.md", text)
    width, metrics = shutil.get_terminal_size((100, 24)).columns, asked.scoring.metrics
    print(terminal_table.fitting(text, width) if asked.everything else terminal_table.text(report, width, metrics))
    more = " (every score; --metrics=all prints them)" if metrics == "all" and not asked.everything else ""
    print(f"written: {out}/scores.csv, patients.csv, summary.json, summary.md{more}{replaced}")


def _replaced(out: epath.Path, report: dict[str, Any]) -> str:
    """Says so where an evaluation of more slices lies there."""

    def slices(of: dict[str, Any]) -> int:
        return max(summary["images"] for summary in of["systems"].values())

    try:
        before, now = slices(json.loads((out / "summary.json").read_text())), slices(report)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none there, or none that can be told
        return ""
    return f"; they replace an evaluation of {before} slices" if before > now else ""


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line, scores, writes the tables; returns the exit code.

    Args:
      argv: the arguments; None for those of the process.
    """
    try:
        return _evaluate(_wishes(_arguments(argv)))
    except ValueError as error:  # the library's own word for bad input, such as images smaller than a metric's window
        raise UserError(one_line(error)) from error


def _evaluate(asked: Evaluation) -> int:
    systems, config = _load(asked)
    folders = _folders(asked.folders, list(systems))
    prepared = input_pipeline.open_dataset(config.data)
    scoring = dataclasses.replace(asked.scoring, fused_ranges=_ranges(asked.ranges, folders))
    if scoring.save_fused:
        _check_kept(scoring.save_fused, list(systems), folders)
    rows: list[score_table.Row] = []
    report: dict[str, Any] = {
        "dataset": config.data.dataset,
        "split": scoring.split,
        "modalities": list(prepared.modalities),
        "systems": {},
    }
    for name in (*systems, *folders):
        if name in systems:
            of_system, further = score_model(name, systems[name], prepared, config.data, scoring)
        else:
            of_system, further = score_folder(name, folders[name], prepared, config.data, scoring)
        report["systems"][name] = score_table.summarise(of_system) | further
        rows += of_system
    if processes.is_first():
        _write(epath.Path(asked.out), rows, report, asked)
    return 0


if __name__ == "__main__":
    processes.cli(main)
