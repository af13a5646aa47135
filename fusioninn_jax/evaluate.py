"""Evaluation: `python -m fusioninn_jax.evaluate --workdir=runs/x [--split=test]`.

Scores a trained model, training-free systems (`--model=mean`) and folders of images that other methods fused
(`--fused-dir=NAME=FOLDER`), all on the same split, into one table: CSV, JSON and Markdown. Several processes
(docs/SCALING.md) share the slices; the table does not depend on how many they are.
"""
from __future__ import annotations

import argparse
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import ml_collections
import numpy as np
from etils import epath
from PIL import Image
from tqdm import tqdm

from fusioninn_jax import input_pipeline, models, settings
from fusioninn_jax.formats import image_io
from fusioninn_jax.models import FusionModel, ddfm
from fusioninn_jax.runtime import outputs, processes
from fusioninn_jax.runtime.errors import Parser, UserError
from fusioninn_jax.scoring import image_scores, score_table
from fusioninn_jax.training import checkpoint, parallel

IMAGE_ENDINGS = (".png", ".tif", ".tiff")
EVALUATION_FOLD = np.uint32(2**32 - 3)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m fusioninn_jax.evaluate", description=__doc__,
                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", help="of a training; its dataset is scored unless --dataset says otherwise")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--model", action="append", default=[], help="a training-free system, e.g. mean; repeatable")
    parser.add_argument("--fused-dir", action="append", default=[], metavar="NAME=FOLDER",
                        help="images fused by another method, named SUBJECT_SLICE.png (see --save-fused); repeatable")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--dataset", help="name/config of a prepared dataset")
    parser.add_argument("--data-dir", help="where datasets are prepared; default: as in training, or runs/data")
    parser.add_argument("--metrics", choices=sorted(image_scores.METRIC_SETS), default="all")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--limit", type=int, default=0, help="score no more than about this many slices, evenly spread")
    parser.add_argument("--sampling-steps", type=int, help="of a trained DDFM; default: as its configuration says")
    parser.add_argument("--save-fused", metavar="FOLDER", help="keep the fused images as 8-bit PNG")
    parser.add_argument("--out", help="folder of the results; default: WORKDIR/evaluation/SPLIT")
    args = parser.parse_args(argv)
    if not (args.workdir or args.model or args.fused_dir):
        parser.error("nothing to score; give --workdir, --model or --fused-dir")
    if not args.workdir and not (args.dataset and args.out):
        parser.error("without --workdir, --dataset and --out are needed")
    return args


def image_name(subject: str, slice_index: int) -> str:
    """The name, without ending, of a slice's fused image in a folder."""
    return f"{subject.replace('/', '_').replace(':', '_')}_{slice_index:03d}"


def _batches(prepared: input_pipeline.Prepared, config: ml_collections.ConfigDict, args: argparse.Namespace,
             multiple: int, system: str) -> Iterator[input_pipeline.Batch]:
    """This process's rows of every batch, under a progress bar."""
    batches = input_pipeline.evaluation_batches(
        prepared, config.data, args.split, batch_size=args.batch_size, multiple=multiple, limit=args.limit,
        process_index=jax.process_index(), process_count=jax.process_count())
    return iter(tqdm(batches, desc=system, unit=" batches", disable=not processes.is_first()))


def _rows(system: str, batch: input_pipeline.Batch,
          results: dict[str, np.ndarray]) -> list[tuple[int, score_table.Row]]:
    """The number in the split and the scores of each real image of a batch."""
    scores = {name: values for name, values in results.items() if values.ndim == 1}
    return [(int(batch["number"][i]),
             {"system": system, "subject": batch["subject"][i].decode(), "slice_index": int(batch["slice_index"][i]),
              **{name: float(values[i]) for name, values in scores.items()}})
            for i in np.flatnonzero(batch["weight"])]


def _of_all(rows: list[tuple[int, score_table.Row]]) -> list[score_table.Row]:
    """The rows of all processes, in the order of the split."""
    everyone = [numbered for of_process in processes.gather(rows) for numbered in of_process]
    return [row for _, row in sorted(everyone, key=lambda numbered: numbered[0])]


def score_model(system: str, model: FusionModel, variables: Any, prepared: input_pipeline.Prepared,
                config: ml_collections.ConfigDict, args: argparse.Namespace) -> tuple[list[score_table.Row], Any]:
    """Scores a model over the split on all devices; returns (rows, moments of the latent or {}) of all processes."""
    devices = jax.local_devices()
    parallel.check_batch(args.batch_size, jax.device_count(), "--batch-size")
    names = image_scores.METRIC_SETS[args.metrics]
    step = parallel.make_map(image_scores.make_score(model, names, config.losses.prior), devices)
    key = jax.random.fold_in(jax.random.key(config.seed), EVALUATION_FOLD)
    rows: list[tuple[int, score_table.Row]] = []
    moments = {"brain": image_scores.LatentMoments(), "background": image_scores.LatentMoments()}
    for batch in _batches(prepared, config, args, model.multiple, system):
        split = parallel.split_batch((batch["sources"], batch["number"].astype(np.uint32)), len(devices))
        results = parallel.merge_batch(step((variables, key), *split))
        rows += _rows(system, batch, results)
        real = batch["weight"] > 0
        if "latent" in results:
            brain = batch["sources"].max(-1, keepdims=True) > 0
            moments["brain"].add(results["latent"][real], brain[real])
            moments["background"].add(results["latent"][real], ~brain[real])
        if args.save_fused:
            _save_fused(pathlib.Path(args.save_fused) / system, batch, results["fused"])
    summaries = {where: _merged(of_where).summary() for where, of_where in moments.items()}
    return _of_all(rows), {where: summary for where, summary in summaries.items() if summary}


def _merged(moments: image_scores.LatentMoments) -> image_scores.LatentMoments:
    """Those of all processes together."""
    total = image_scores.LatentMoments()
    for sums in processes.gather(moments.sums()):
        total.add_sums(sums)
    return total


def _save_fused(folder: pathlib.Path, batch: input_pipeline.Batch, fused: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for i in np.flatnonzero(batch["weight"]):
        name = image_name(batch["subject"][i].decode(), int(batch["slice_index"][i]))
        levels = np.floor(np.clip(fused[i, ..., 0], 0, 1) * 255 + 0.5).astype(np.uint8)
        with outputs.new_files(folder / f"{name}.png") as (temporary,):
            Image.fromarray(levels).save(temporary)


def score_folder(system: str, folder: pathlib.Path, prepared: input_pipeline.Prepared,
                 config: ml_collections.ConfigDict, args: argparse.Namespace) -> list[score_table.Row]:
    """Scores the images of a folder as fused images of the split.

    Raises:
      UserError: the folder or one of the images is missing, or an image is of another size.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give --fused-dir=NAME=FOLDER")
    names = image_scores.METRIC_SETS[args.metrics]
    score = jax.jit(lambda stack, fused: image_scores.fusion_scores(
        tuple(stack[..., i:i + 1] for i in range(stack.shape[-1])), fused, names))
    parallel.check_batch(args.batch_size, jax.process_count(), "--batch-size")
    rows: list[tuple[int, score_table.Row]] = []
    for batch in _batches(prepared, config, args, 1, system):
        fused = np.stack([_read_fused(folder, subject.decode(), int(index), stack.shape[:2]) for subject, index, stack
                          in zip(batch["subject"], batch["slice_index"], batch["sources"], strict=True)])
        rows += _rows(system, batch, jax.tree.map(np.asarray, score(batch["sources"], fused)))
    return _of_all(rows)


def _read_fused(folder: pathlib.Path, subject: str, slice_index: int, size: tuple[int, ...]) -> np.ndarray:
    stem = image_name(subject, slice_index)
    found = [folder / f"{stem}{ending}" for ending in IMAGE_ENDINGS if (folder / f"{stem}{ending}").exists()]
    if not found:
        raise UserError(f"{folder}: has no {stem}.png (or .tif); every slice of the split needs its fused image")
    image = image_io.read_image(found[0])
    if not np.issubdtype(image.dtype, np.floating):
        image = image.astype(np.float32) / np.iinfo(image.dtype).max
    image = image_io.luma_chroma(image)[0] if image.ndim == 3 else image
    if image.shape != size:
        raise UserError(f"{found[0]}: is {image.shape[0]}x{image.shape[1]}, the sources are {size[0]}x{size[1]}; "
                        "save the fused image at its sources' size")
    return image.astype(np.float32)[..., None]


def _with_steps(config: ml_collections.ConfigDict, steps: int) -> FusionModel:
    """The configured model, sampling in this many steps."""
    if "steps" not in config.model[config.model.name]:
        raise UserError(f"--sampling-steps={steps}: {config.model.name} does not sample; leave it out")
    config.model[config.model.name].steps = steps
    return models.get(config.model.name, config.model[config.model.name])


def _load(args: argparse.Namespace) -> tuple[dict[str, tuple[FusionModel, Any]], ml_collections.ConfigDict]:
    """The systems to run, and the configuration that says on what data."""
    systems, config = {}, settings.defaults()
    if args.workdir:
        model, variables, config, step = checkpoint.load(args.workdir, args.checkpoint)
        if args.sampling_steps:
            model = _with_steps(config, args.sampling_steps)
        systems[f"{config.model.name}"] = (model, variables)
        if processes.is_first():
            print(f"{args.workdir}: {args.checkpoint} checkpoint, step {step}")
    for name in args.model:
        model = models.get(name)
        if not model.training_free:
            how = ddfm.HOW_TO_GET if name == "ddfm" else "train it and give its --workdir"
            raise UserError(f"--model={name}: needs training; {how}")
        systems[name] = (model, {"params": {}})
    with config.unlocked():
        config.data.dataset = args.dataset or config.data.dataset
        config.data.data_dir = args.data_dir or config.data.data_dir
    return systems, config


def _write(out: epath.Path, rows: list[score_table.Row], report: dict[str, Any]) -> None:
    text = score_table.markdown(report)
    score_table.write_csv(out / "scores.csv", rows)
    score_table.write_json(out / "summary.json", report)
    score_table.write_atomically(out / "summary.md", lambda file: file.write(text))
    print(f"{text}\nwritten: {out}/scores.csv, summary.json, summary.md")


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line, scores, writes the tables; returns the exit code."""
    args = _arguments(argv)
    try:
        systems, config = _load(args)
    except ValueError as error:
        raise UserError(str(error)) from error
    prepared = input_pipeline.open_dataset(config.data)
    rows: list[score_table.Row] = []
    report: dict[str, Any] = {"dataset": config.data.dataset, "split": args.split,
                              "modalities": list(prepared.modalities), "systems": {}}
    for name, (model, variables) in systems.items():
        of_system, latent = score_model(name, model, variables, prepared, config, args)
        report["systems"][name] = score_table.summarise(of_system) | ({"latent": latent} if latent else {})
        rows += of_system
    for item in args.fused_dir:
        name, _, folder = item.rpartition("=")
        of_system = score_folder(name or pathlib.Path(folder).name, pathlib.Path(folder), prepared, config, args)
        report["systems"][name or pathlib.Path(folder).name] = score_table.summarise(of_system)
        rows += of_system
    if processes.is_first():
        _write(epath.Path(args.out or os.path.join(args.workdir, "evaluation", args.split)), rows, report)
    return 0


if __name__ == "__main__":
    processes.cli(main)
