"""Reports to look at.

`python -m fusioninn_jax.report run --workdir=runs/x` writes runs/x/report.html, a self-contained page: curves of the
training, a panel of images with error maps, and a table of scores. `table1`, `table2`, `sweep` and `figures` are the
paper's tables and figures, from runs that they train where they are missing; `--config.KEY=VALUE` changes a setting of
all those runs. `study T1GD FLAIR -o study.html` shows one study (`studies.study_page`).
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

import jinja2
import matplotlib
import numpy as np

matplotlib.use("Agg")  # files only, no window

from matplotlib import pyplot as plt  # noqa: E402
from matplotlib.figure import Figure  # noqa: E402

from fusioninn_jax import brain  # noqa: E402
from fusioninn_jax.runtime import compilation_cache  # noqa: E402
from fusioninn_jax.runtime.errors import Parser, UserError, cli  # noqa: E402
from fusioninn_jax.score_names import (  # noqa: E402
    BRAIN,
    CONSPICUITY,
    FAIRNESS,
    MEAN,
    OVER_BEST,
    OVER_MEAN,
    of_decomposed,
    of_fused,
    of_part,
    parts_in,
)
from fusioninn_jax.scoring import score_table  # noqa: E402
from fusioninn_jax.studies import study_page  # noqa: E402
from fusioninn_jax.training.train_log import METRICS_FILE, TRAIN_FILE, read_lines  # noqa: E402

ERROR_SPAN = 0.2  # error maps show 0 … this
OVERRIDE = "--config."  # as for the trainer
DISPLAY_NAMES = {"t1": "T1", "t1gd": "T1-Gd", "t2": "T2", "flair": "T2-FLAIR"}


def _png(figure: Figure) -> str:
    """A figure as a data URI; the figure is closed."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def curves(train: list[dict[str, Any]], evaluations: list[dict[str, Any]], modalities: list[str]) -> Figure:
    """Training loss and its parts, and the validation SSIMs, by step."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.4))
    steps = [record["step"] for record in train]
    for name in ("loss", "fusion", "decomposition"):
        left.plot(steps, [record[name] for record in train], label=name, linewidth=1)
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    left.legend()
    steps, logged = [record["step"] for record in evaluations], list(evaluations[0]) if evaluations else []
    for i, modality in enumerate(modalities, 1):
        for kind, style, label in (
            ("fused", "--", f"fused, with {modality}"),
            ("decomposed", "-", f"{modality}, decomposed"),
        ):
            name = next((name for name in logged if name.startswith(f"ssim_{kind}_{i}") and name.endswith(BRAIN)), "")
            if name:
                right.plot(
                    steps,
                    [record[name] for record in evaluations],
                    style,
                    marker="o",
                    markersize=3,
                    color=f"C{i - 1}",
                    label=label,
                )
    right.set(xlabel="step", ylabel="validation SSIM inside the brain")
    if right.lines:
        right.legend()
    return figure


def image_panel(examples: dict[str, np.ndarray], modalities: list[str]) -> Figure:
    """A row a slice: sources, fused, latent, decomposed, and the absolute error of each decomposed source.

    Args:
      examples: `sources` and `decomposed` (N, H, W, M), `fused` (N, H, W, 1), `latent` (N, H, W, C); the last two may
        be missing where a system has none.
      modalities: M names.
    """
    columns: list[tuple[str, np.ndarray, dict[str, Any]]] = []
    grey = {"cmap": "gray", "vmin": 0, "vmax": 1}
    columns += [(name, examples["sources"][..., i], grey) for i, name in enumerate(modalities)]
    columns += [("fused", examples["fused"][..., 0], grey)]
    for i in range(examples["latent"].shape[-1] if "latent" in examples else 0):
        inside = brain.inside(examples["sources"])[..., 0]
        centre, spread = examples["latent"][..., i][inside].mean(), 3 * examples["latent"][..., i][inside].std()
        columns.append(
            ("latent", examples["latent"][..., i], {"cmap": "RdBu_r", "vmin": centre - spread, "vmax": centre + spread})
        )
    if "decomposed" in examples:
        columns += [(f"{name}, decomposed", examples["decomposed"][..., i], grey) for i, name in enumerate(modalities)]
        error = np.abs(examples["decomposed"] - examples["sources"])
        columns += [
            (f"{name}, |error|", error[..., i], {"cmap": "magma", "vmin": 0, "vmax": ERROR_SPAN})
            for i, name in enumerate(modalities)
        ]
    rows = len(examples["fused"])
    figure, axes = plt.subplots(rows, len(columns), figsize=(1.7 * len(columns), 1.75 * rows), squeeze=False)
    for column, (title, images, style) in zip(axes.T, columns, strict=True):
        column[0].set_title(title, fontsize=8)
        for axis, image in zip(column, images, strict=True):
            axis.imshow(image, **style)
            axis.set_axis_off()
    figure.tight_layout(pad=0.2)
    return figure


def _pick(values: list[str], count: int) -> list[int]:
    """`count` places spread evenly over a list."""
    return np.unique(np.linspace(0, len(values) - 1, count).round().astype(int)).tolist()


def _examples(workdir: pathlib.Path, split: str, count: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Images of `count` slices with a tumour (where any has one), spread over the split, and their names."""
    import jax

    from fusioninn_jax import fusion_targets, input_pipeline
    from fusioninn_jax.models.padding import any_size
    from fusioninn_jax.training import checkpoint, validation

    model, variables, config, *_ = checkpoint.load(workdir)
    prepared = input_pipeline.open_dataset(config.data)
    split = split if split in prepared.sizes else "train"
    config.losses.fusion_target = fusion_targets.SOURCES  # only images are wanted: no pictures made beforehand
    found: list[dict[str, np.ndarray]] = []
    names: list[str] = []
    for batch, results in validation.run_over(
        model, variables, prepared, config, jax.local_devices(), split=split, with_images=True
    ):
        images = {name: values for name, values in results.items() if values.ndim == 4} | {"sources": batch["sources"]}
        for i in np.flatnonzero(batch["weight"]):
            found.append({name: values[i] for name, values in images.items()} | {"tumour": batch["mask"][i].any()})
            names.append(f"{batch['subject'][i].decode()}, slice {batch['slice_index'][i]}")
    with_tumour = [i for i, example in enumerate(found) if example["tumour"]] or list(range(len(found)))
    chosen = [with_tumour[i] for i in _pick([names[i] for i in with_tumour], count)]
    stacked = {name: np.stack([found[i][name] for i in chosen]) for name in found[0] if name != "tumour"}
    if "fused" not in stacked:  # a system whose validation does not fuse
        stacked["fused"] = np.asarray(jax.jit(any_size(model).fuse)(variables, *np.split(stacked["sources"], 2, -1))[0])
    return stacked, [names[i] for i in chosen]


def _score_rows(summary: dict[str, Any], modalities: list[str]) -> list[dict[str, Any]]:
    """SSIM of each modality: fused, and decomposed from each storage, whole slice and brain."""

    def cell(name: str) -> dict[str, float] | None:
        return summary["overall"].get(name)

    rows = []
    for i, modality in enumerate(modalities, 1):
        for label, name in (
            (f"fused with {modality}", of_fused(i)),
            (f"{modality}, decomposed from float", of_decomposed("ssim", i, "float")),
            (f"{modality}, decomposed from a 16-bit image", of_decomposed("ssim", i, "16bit")),
            (f"{modality}, decomposed from an 8-bit image", of_decomposed("ssim", i, "8bit")),
        ):
            if cell(name):
                rows.append({"label": label, "whole": cell(name), "brain": cell(name + BRAIN)})
    return rows


def _conspicuity_rows(overall: dict[str, Any], modalities: list[str]) -> list[dict[str, Any]]:
    """A row a part of the tumour and measure: the fused image's score beside those of the sources and their mean."""

    def row(measure: str, part: str) -> dict[str, Any]:
        of = {
            which: overall[of_part(measure, part, which)]
            for which in ("", *range(1, len(modalities) + 1), MEAN, OVER_BEST, OVER_MEAN)
        }
        return {
            "label": f"{part}, {CONSPICUITY[measure]}",
            "of": of.pop(""),
            "over": [of.pop(OVER_BEST), of.pop(OVER_MEAN)],
            "others": list(of.values()),
        }

    return [row(measure, part) for part in parts_in(overall) for measure in CONSPICUITY]


def _patient_rows(summary: dict[str, Any], conspicuity: dict[str, Any]) -> dict[str, list[float | None]]:
    """Patient -> brain SSIM of the fused image with the source it resembles least, and AUCs of the tumour's parts."""
    names = [of_part("auc", part) for part in parts_in(conspicuity.get("overall", {}))]
    return {
        subject: [values.get(FAIRNESS + BRAIN), *[conspicuity["subjects"].get(subject, {}).get(name) for name in names]]
        for subject, values in summary["subjects"].items()
    }


def write_run_report(workdir: pathlib.Path, split: str = "test", count: int = 4) -> pathlib.Path:
    """Writes `workdir`/report.html from what training and evaluation left there.

    Args:
      workdir: of a training that was evaluated (`python -m fusioninn_jax.evaluate`).
      split: the evaluated split.
      count: slices in the panel.

    Raises:
      UserError: training or evaluation is missing.
    """
    train, evaluations = read_lines(workdir / TRAIN_FILE), read_lines(workdir / METRICS_FILE)
    if not evaluations:
        raise UserError(
            f"{workdir}: no {METRICS_FILE} with an evaluation; train first: "
            "`python -m fusioninn_jax.train --config=... --workdir=...`"
        )
    summary_file = workdir / "evaluation" / split / "summary.json"
    if not summary_file.exists():
        raise UserError(
            f"{summary_file}: missing; run `python -m fusioninn_jax.evaluate --workdir={workdir} --split={split}` first"
        )
    report = json.loads(summary_file.read_text())
    system, summary = next(iter(report["systems"].items()))
    examples, names = _examples(workdir, split, count)
    modalities = [DISPLAY_NAMES.get(name, name) for name in report["modalities"]]
    environment = jinja2.Environment(loader=jinja2.PackageLoader("fusioninn_jax"), autoescape=True)
    conspicuity = summary.get("conspicuity") or {}
    page = environment.get_template("run.html").render(
        workdir=workdir.name,
        dataset=report["dataset"],
        split=split,
        system=system,
        summary=summary,
        rows=_score_rows(summary, modalities),
        latent=summary.get("latent", {}),
        conspicuity=_conspicuity_rows(conspicuity.get("overall", {}), modalities),
        patients=_patient_rows(summary, conspicuity),
        names=names,
        modalities=modalities,
        evaluation=evaluations[-1],
        curves=_png(curves(train, evaluations, modalities)),
        panel=_png(image_panel(examples, modalities)),
        error_span=ERROR_SPAN,
        config=(workdir / "config.json").read_text(),
    )
    path = workdir / "report.html"
    score_table.write_atomically(path, lambda file: file.write(page))
    return path


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and writes the report; returns the exit code."""
    parser = Parser(
        prog="python -m fusioninn_jax.report",
        description=__doc__,
        epilog=compilation_cache.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="one training: curves, images, scores")
    run.add_argument("--workdir", required=True)
    run.add_argument("--split", default="test")
    run.add_argument("--slices", type=int, default=4, help="slices in the panel")
    study = commands.add_parser("study", help="one study: sources, fused, decomposed, errors, scores")
    study_page.add_arguments(study)
    add_paper_commands(commands)
    argv = sys.argv[1:] if argv is None else argv
    overrides = [argument for argument in argv if argument.startswith(OVERRIDE)]
    args = parser.parse_args([argument for argument in argv if not argument.startswith(OVERRIDE)])
    if args.command == "run":
        if overrides:
            raise UserError(f"{overrides[0]}: run takes no --config, what it reports is trained already")
        path = write_run_report(pathlib.Path(args.workdir), args.split, args.slices)
    else:
        path = args.run(args, overrides)
    print(f"written: {path}{f', {path.stat().st_size / 1e6:.1f} MB' if path.is_file() else ''}")
    return 0


def add_paper_commands(commands: Any) -> None:
    """Adds the paper's tables and figures to the subcommands."""
    from fusioninn_jax.tables import figures, sweep, table1

    for name, text, module, options in (
        ("table1", "every system beside the paper's Table 1", table1, {}),
        ("table2", "the ablations beside the paper's Table 2", sweep, {"default": "configs/sweeps/table2.py"}),
        ("sweep", "the table of any sweep", sweep, {}),
        ("figures", "Figures 3, 4 and 5 of the paper", figures, {}),
    ):
        command = commands.add_parser(name, help=text)
        module.add_arguments(command, **options)


if __name__ == "__main__":
    compilation_cache.keep_compiled_programs()
    cli(main)
