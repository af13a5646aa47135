"""One training as a page: the paper's metrics, conspicuity, patients, slices, curves."""

from __future__ import annotations

import base64
import io
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import jinja2
import numpy as np
from matplotlib.figure import Figure

from fusioninn_jax import input_pipeline
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.objective import fusion_targets
from fusioninn_jax.runtime import guarded, outputs
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.score_names import (
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
from fusioninn_jax.scoring.image_scores import TABLE1
from fusioninn_jax.tables import comparison, published, run_figures
from fusioninn_jax.training import checkpoint, validation
from fusioninn_jax.training.train_log import METRICS_FILE, TRAIN_FILE, read_lines

DPI = 110  # of the plots


def _png(figure: Figure) -> str:
    """A figure as a data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, bbox_inches="tight")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def likeness(results: dict[str, np.ndarray]) -> np.ndarray:
    """(B,) the least brain SSIM of a slice: of what comes back, or of the fused image where nothing does; 0 where a
    system's validation fuses nothing.

    Args:
      results: of a batch, as `validation.run_over` yields them: score -> (B,).
    """
    of_brain = [name for name in results if name.startswith("ssim_") and name.endswith(BRAIN)]
    chosen = [name for name in of_brain if "decomposed" in name] or of_brain
    if not chosen:
        return np.zeros(len(next(iter(results.values()))))
    return np.min([results[name] for name in chosen], axis=0)


def choose(values: np.ndarray, count: int) -> dict[int, str]:
    """Slices to show: half of them about the median, half the worst; place -> `typical` or `worst`, in their order.

    Args:
      values: (N,) how good each slice is.
      count: how many, 1 at least.
    """
    order = np.argsort(values, kind="stable").tolist()
    worst = order[: count // 2]
    middle = max((len(order) - (count - len(worst))) // 2, len(worst))
    typical = order[middle : middle + count - len(worst)]
    return {i: "worst" if i in worst else "typical" for i in sorted(typical) + sorted(worst)}


def _examples(workdir: pathlib.Path, split: str, count: int) -> tuple[dict[str, np.ndarray], list[str]]:
    """Images of `count` slices, with a tumour where any has one: typical ones, then the worst; and their names."""
    model, variables, config, *_ = checkpoint.load(workdir)
    prepared = input_pipeline.open_dataset(config.data)
    config.losses.fusion_target = fusion_targets.SOURCES  # only images are wanted: no pictures made beforehand
    devices = jax.local_devices()
    config.train.eval_batch_size = -(-config.train.eval_batch_size // len(devices)) * len(devices)

    def batches() -> Iterator[tuple[input_pipeline.Batch, dict[str, np.ndarray]]]:
        return validation.run_over(model, variables, prepared, config, devices, split=split, with_images=True)

    names, values, tumour = {}, {}, []
    for batch, results in batches():
        of_slices = likeness(results)
        for i in np.flatnonzero(batch["weight"]):
            number = int(batch["number"][i])
            values[number] = float(of_slices[i])
            names[number] = f"{batch['subject'][i].decode()}, slice {batch['slice_index'][i]}"
            tumour += [number] if batch["mask"][i].any() else []
    numbers = tumour or list(values)
    chosen = {numbers[k]: kind for k, kind in choose(np.array([values[n] for n in numbers]), count).items()}
    found: dict[int, dict[str, np.ndarray]] = {}
    for batch, results in batches():  # once more, for the images of all slices would take gigabytes
        images = {name: of for name, of in results.items() if of.ndim == 4} | {"sources": batch["sources"]}
        for i in np.flatnonzero(batch["weight"] * np.isin(batch["number"], list(chosen))):
            found[int(batch["number"][i])] = {name: of[i].copy() for name, of in images.items()}
        if len(found) == len(chosen):
            break
    stacked = {name: np.stack([found[n][name] for n in chosen]) for name in found[min(found)]}
    if "fused" not in stacked:  # a system whose validation does not fuse
        stacked["fused"] = np.asarray(jax.jit(any_size(model).fuse)(variables, *np.split(stacked["sources"], 2, -1))[0])
    return stacked, [f"{kind}: {names[n]}" for n, kind in chosen.items()]


def _paper_rows(overall: dict[str, Any]) -> list[dict[str, Any]]:
    """The metrics of the paper's Table 1, whole slice and brain."""
    return [
        {"label": comparison.COLUMNS[name], "whole": overall.get(name), "brain": overall.get(name + BRAIN)}
        for name in TABLE1
        if name in overall or name + BRAIN in overall
    ]


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


def _patients_figure(summary: dict[str, Any], modalities: list[str]) -> str:
    """The plot of patients, empty where nothing was scored inside the brain."""
    titles = {FAIRNESS + BRAIN: "fused, the worse SSIM with a source"}
    for i, modality in enumerate(modalities, 1):
        titles[of_decomposed("ssim", i, "8bit") + BRAIN] = f"SSIM of {modality}, decomposed from 8 bits"
    means = {name: summary["overall"][name]["mean"] for name in titles if name in summary["overall"]}
    figure = run_figures.patients(summary["subjects"], titles, means)
    return _png(figure) if figure else ""


def evaluated_split(workdir: pathlib.Path, asked: str | None = None) -> str:
    """The evaluated split that a report is of: the one asked for, else `test` or another one that there is.

    Args:
      workdir: of a training.
      asked: the split's name; None for any.

    Raises:
      UserError: it was not evaluated, or none was.
    """
    names = sorted(path.parent.name for path in workdir.glob("evaluation/*/summary.json"))
    found = [name for name in names if not name.endswith("_evaluator")]  # numbers of another's evaluator
    if asked in found or not asked and found:
        return asked or ("test" if "test" in found else found[-1])
    there = f"evaluated: {', '.join(found)}; " if found else ""
    raise UserError(
        f"{workdir / 'evaluation' / (asked or 'test') / 'summary.json'}: missing; {there}run "
        f"`python -m fusioninn_jax.evaluate --workdir={workdir} --split={asked or 'test'}` first"
    )


def write_run_report(workdir: pathlib.Path, split: str | None = None, count: int = 4) -> pathlib.Path:
    """Writes `workdir`/report.html from what training and evaluation left there.

    Args:
      workdir: of a training that was evaluated (`python -m fusioninn_jax.evaluate`), on a disk or in a bucket.
      split: the evaluated split; None for `test`, or else another one that there is.
      count: slices in the panel, half of them the worst.

    Raises:
      UserError: training or evaluation is missing.
    """
    train, evaluations = read_lines(workdir / TRAIN_FILE), read_lines(workdir / METRICS_FILE)
    if not evaluations:
        raise UserError(
            f"{workdir}: no {METRICS_FILE} with an evaluation; train first: "
            "`python -m fusioninn_jax.train --config=... --workdir=...`"
        )
    split = evaluated_split(workdir, split)
    summary_file = workdir / "evaluation" / split / "summary.json"
    examples = _examples(workdir, split, count)
    config = guarded.read_anywhere(workdir / "config.json").decode(errors="replace")
    again = f"python -m fusioninn_jax.evaluate --workdir={workdir} --split={split}"
    with guarded.reading(summary_file, "is not as an evaluation writes it", f"write it anew: `{again}`"):
        page = _page(
            guarded.read_json(summary_file), examples, train, evaluations, workdir=workdir, split=split, config=config
        )
    path = workdir / "report.html"
    outputs.write_text(path, page)
    return path


def _page(
    report: dict[str, Any],
    examples: tuple[dict[str, np.ndarray], list[str]],
    train: list[dict[str, Any]],
    evaluations: list[dict[str, Any]],
    **about: Any,
) -> str:
    """The page of an evaluation's summary; `about` goes into it as it is."""
    images, names = examples
    system, summary = next(iter(report["systems"].items()))
    modalities = [published.MODALITIES.get(name, name) for name in report["modalities"]]
    environment = jinja2.Environment(loader=jinja2.PackageLoader("fusioninn_jax"), autoescape=True)
    conspicuity = summary.get("conspicuity") or {}
    return environment.get_template("run.html").render(
        **about,
        dataset=report["dataset"],
        system=system,
        summary=summary,
        paper=_paper_rows(summary["overall"]),
        rows=_score_rows(summary, modalities),
        latent=summary.get("latent", {}),
        conspicuity=_conspicuity_rows(conspicuity.get("overall", {}), modalities),
        patients=_patient_rows(summary, conspicuity),
        names=names,
        modalities=modalities,
        evaluation=evaluations[-1],
        patients_figure=_patients_figure(summary, modalities),
        curves=_png(run_figures.curves(train, evaluations, modalities)),
        panel=_png(run_figures.image_panel(images, modalities, names)),
        error_span=run_figures.ERROR_SPAN,
    )
