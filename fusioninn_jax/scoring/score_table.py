"""Scores -> summary, CSV, JSON and Markdown. A row of scores is one image of one system."""

from __future__ import annotations

import csv
import io
import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, TextIO

import numpy as np

from fusioninn_jax.runtime import outputs
from fusioninn_jax.score_names import (
    BRAIN,
    CONSPICUITY,
    FAIRNESS,
    MEAN,
    OVER_BEST,
    OVER_MEAN,
    STORAGE_BITS,
    is_of_decomposed,
    of_decomposed,
    of_part,
    parts_in,
    source_of_fused,
)
from fusioninn_jax.scoring.image_scores import METRIC_SETS
from fusioninn_jax.scoring.statistics import BOOTSTRAP_SEED, bootstrap_interval, interval_text

KEYS = ("system", "subject", "slice_index")
Row = dict[str, Any]
Further = dict[str, Any]  # beside the rows: moments of the `latent`; `conspicuity`, see `lesion_scores.PatientLevels`


def score_names(rows: list[Row]) -> list[str]:
    """The scores that any row has: SSIM with each source, the metrics in their usual order, decomposition.

    Args:
      rows: of any systems.
    """

    def place(name: str) -> int:
        plain, known = name.removesuffix(BRAIN), METRIC_SETS["all"]
        if plain in known:
            return known.index(plain)
        return len(known) if is_of_decomposed(name) else -1

    return sorted(dict.fromkeys(name for row in rows for name in row if name not in KEYS), key=place)


def summarise(rows: list[Row]) -> dict[str, Any]:
    """Mean and bootstrap 95 % interval of each score, overall and per patient.

    Whole patients are resampled where there are at least two, since slices of one are alike; else slices.

    Args:
      rows: of one system.

    Returns:
      {"images": N, "overall": {score: {"mean", "low", "high"}}, "subjects": {subject: {score: mean}}}.
    """
    subjects = np.array([row["subject"] for row in rows])
    clusters = subjects if len(set(subjects)) > 1 else None
    overall: dict[str, dict[str, float]] = {}
    per_subject: dict[str, dict[str, float]] = {subject: {} for subject in dict.fromkeys(subjects.tolist())}
    for name in score_names(rows):
        values = np.array([row[name] for row in rows], float)
        interval = bootstrap_interval(values, seed=BOOTSTRAP_SEED, clusters=clusters)
        overall[name] = interval._asdict()
        for subject in per_subject:
            per_subject[subject][name] = float(values[subjects == subject].mean())
    return {"images": len(rows), "overall": overall, "subjects": per_subject}


def write_atomically(path: pathlib.Path, write: Callable[[TextIO], object]) -> None:
    """Calls `write(file)`, writes that beside `path`, then renames it, so no half file is ever there.

    Args:
      path: of the file.
      write: gets the open file.
    """
    text = io.StringIO(newline="")
    write(text)
    outputs.write_text(path, text.getvalue())


def write_csv(path: pathlib.Path, rows: list[Row]) -> None:
    """One line an image and system.

    Args:
      path: of the file.
      rows: of any systems.
    """

    def write(file: TextIO) -> None:
        writer = csv.DictWriter(file, [*KEYS, *score_names(rows)])
        writer.writeheader()
        writer.writerows(rows)

    write_atomically(path, write)


def write_patients(path: pathlib.Path, systems: dict[str, Any]) -> None:
    """One line a system and patient: means over its slices, and how conspicuous its tumour is.

    Args:
      path: of the CSV.
      systems: of each system, what `summarise` gives, and its `conspicuity`.
    """
    lines = [
        {
            "system": system,
            "subject": subject,
            **values,
            **(summary.get("conspicuity") or {"subjects": {}})["subjects"].get(subject, {}),
        }
        for system, summary in systems.items()
        for subject, values in summary["subjects"].items()
    ]

    def write(file: TextIO) -> None:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for line in lines for name in line)))
        writer.writeheader()
        writer.writerows(lines)

    write_atomically(path, write)


def write_json(path: pathlib.Path, content: object) -> None:
    """Indented JSON.

    Args:
      path: of the file.
      content: what JSON can hold.
    """
    outputs.write_text(path, json.dumps(content, indent=2) + "\n")


def _cell(interval: Mapping[str, Any] | None, patients: int) -> str:
    """Mean and interval; the mean alone of one patient, whose slices say nothing of other patients."""
    if interval is None:
        return ""
    if patients == 1:
        return f"{interval['mean']:.4f}"
    return interval_text(interval)


def markdown_table(header: list[str], lines: list[list[str]]) -> str:
    """A table of strings as Markdown.

    Args:
      header: a title for each column.
      lines: the cells of each row.
    """
    return "\n".join("| " + " | ".join(line) + " |" for line in (header, ["---"] * len(header), *lines))


def _fusion_tables(systems: dict[str, Any], modalities: list[str]) -> list[str]:
    """Score by system, the whole slice and the inside of the brain."""

    def label(name: str) -> str:
        source = source_of_fused(name)
        return name if source is None else f"SSIM with {modalities[source - 1]}"

    names = list(
        dict.fromkeys(name for summary in systems.values() for name in summary["overall"] if not is_of_decomposed(name))
    )
    parts = []
    for title, ending in (("Fusion, whole slice", ""), ("Fusion, inside the brain", BRAIN)):
        chosen = [name for name in names if name.endswith(BRAIN) == bool(ending)]
        lines = [
            [
                label(name.removesuffix(ending) if ending else name),
                *[_cell(summary["overall"].get(name), len(summary["subjects"])) for summary in systems.values()],
            ]
            for name in chosen
        ]
        parts.append(f"## {title}\n\n{markdown_table(['score', *systems], lines)}\n")
    return parts


def _conspicuity_table(systems: dict[str, Any], modalities: list[str]) -> str:
    """Each part of the tumour in the sources, their plain mean and the systems' fused images, and the worst patient."""
    found = {name: summary["conspicuity"]["overall"] for name, summary in systems.items() if summary.get("conspicuity")}
    if not found:
        return (
            "The dataset's annotation tells no parts of a tumour apart, so how conspicuous they are in the fused "
            "images is not measured.\n"
        )
    overall, patients = next(iter(found.values())), len(next(iter(systems.values()))["subjects"])
    others: dict[int | str, str] = {**dict(enumerate(modalities, 1)), MEAN: "plain mean"}
    lines = []
    for part in parts_in(overall):
        for measure, title in CONSPICUITY.items():
            given = [overall[of_part(measure, part, other)] for other in others]
            fused = [of.get(of_part(measure, part)) for of in found.values()]
            lines.append(
                [f"{part}, {title}", *[f"{of['mean']:.4f}" for of in given], *[_cell(of, patients) for of in fused]]
            )
            for label, over in (("over the best source", OVER_BEST), ("over the plain mean", OVER_MEAN)):
                lines.append(
                    [
                        label,
                        *[""] * len(others),
                        *[_cell(of.get(of_part(measure, part, over)), patients) for of in found.values()],
                    ]
                )
            lines.append(["worst patient", *[_worst(of) for of in (*given, *fused)]])
    header = ["part against other brain", *others.values(), *found]
    return (
        "## Conspicuity of the tumour, by patient\n\nGrey value of a part of the tumour against that of the brain "
        f"outside any, at 8 bits, the pixels of a patient's annotated slices pooled; mean over patients [bootstrap "
        f"95 % interval]. See docs/metrics/conspicuity.md.\n\n{markdown_table(header, lines)}\n"
    )


def _worst(of: dict[str, Any] | None) -> str:
    return f"{of['worst']:.4f} {of['worst_subject']}" if of else ""


def _decomposition_table(system: str, summary: dict[str, Any], modalities: list[str]) -> str:
    """Measure by the number of bits that the fused image was kept in."""
    lines = []
    for i, modality in enumerate(modalities, 1):
        for measure in ("ssim", "psnr", "mae"):
            for where, ending in (("whole slice", ""), ("brain", BRAIN)):
                cells = [
                    _cell(summary["overall"].get(of_decomposed(measure, i, storage) + ending), len(summary["subjects"]))
                    for storage in STORAGE_BITS
                ]
                lines.append([modality, measure.upper(), where, *cells])
    header = ["source", "measure", "where", *[f"fused image in {storage}" for storage in STORAGE_BITS]]
    return f"## Decomposition by {system}, with a fresh latent\n\n{markdown_table(header, lines)}\n"


def _latent_table(system: str, latent: dict[str, dict[str, float]]) -> str:
    names = list(next(iter(latent.values())))
    lines = [[where, *[f"{moments[name]:.4f}" for name in names]] for where, moments in latent.items()]
    return f"## Latent of {system} (N(0, 1): 0, 1, 0, 0, 0)\n\n{markdown_table(['where', *names], lines)}\n"


def _subject_table(system: str, summary: dict[str, Any]) -> str:
    """A line a patient, and the worst of them score by score."""
    conspicuity = summary.get("conspicuity") or {"subjects": {}, "overall": {}}
    names = [
        name
        for name in summary["overall"]
        if name in ("q_ssim", FAIRNESS + BRAIN)
        or source_of_fused(name)
        or name.startswith("ssim_")
        and is_of_decomposed(name)
        and "_float" in name
    ]
    parts = [of_part(measure, part) for part in parts_in(conspicuity["overall"]) for measure in CONSPICUITY]
    lines = []
    for subject, values in summary["subjects"].items():
        of_parts = conspicuity["subjects"].get(subject, {})
        lines.append(
            [
                subject,
                *[f"{values[name]:.4f}" for name in names],
                *[f"{of_parts[name]:.4f}" if name in of_parts else "" for name in parts],
            ]
        )
    worst = [min((values[name], subject) for subject, values in summary["subjects"].items()) for name in names]
    lines.append(
        [
            "**worst**",
            *[f"{value:.4f} {subject}" for value, subject in worst],
            *[_worst(conspicuity["overall"][name]) for name in parts],
        ]
    )
    return f"## Patients, {system}\n\n{markdown_table(['patient', *names, *parts], lines)}\n"


def markdown(report: dict[str, Any]) -> str:
    """The whole report as Markdown.

    Args:
      report: as `summary.json` holds it.
    """
    systems, modalities = report["systems"], report["modalities"]
    images, patients = next(iter(systems.values()))["images"], len(next(iter(systems.values()))["subjects"])
    of = f"{patients} patients; mean [bootstrap 95 % interval]" if patients > 1 else "1 patient; mean, no interval"
    parts = [f"# Evaluation on {report['dataset']}, split {report['split']}\n\n{images} images of {of}.\n"]
    parts += _fusion_tables(systems, modalities)
    parts.append(_conspicuity_table(systems, modalities))
    for name, summary in systems.items():
        if any(is_of_decomposed(score) for score in summary["overall"]):
            parts.append(_decomposition_table(name, summary, modalities))
        if summary.get("latent"):
            parts.append(_latent_table(name, summary["latent"]))
        parts.append(_subject_table(name, summary))
    return "\n".join(parts)
