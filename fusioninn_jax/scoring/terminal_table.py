"""An evaluation on a terminal: the paper's five, similarity and decomposition inside the brain, the worst patient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fusioninn_jax.score_names import BRAIN, of_decomposed, of_fused
from fusioninn_jax.scoring import image_scores
from fusioninn_jax.training.talk import counted

EVALUATOR = f"{image_scores.EVALUATOR}_"  # starts the names of its scores
FIRST, COLUMN = 34, 22  # widths: a column holds "0.955 [0.948, 0.961]"
KEPT = "8bit"  # decomposition is told from a fused image kept as a PNG keeps it


def rows(modalities: Sequence[str]) -> dict[str, str]:
    """Score -> its title, in the order of the table."""
    return (
        {name + BRAIN: title for name, title in image_scores.TITLES.items()}
        | {of_fused(i) + BRAIN: f"SSIM with {name}" for i, name in enumerate(modalities, 1)}
        | {
            of_decomposed("ssim", i, KEPT) + BRAIN: f"SSIM of {name}, decomposed"
            for i, name in enumerate(modalities, 1)
        }
    )


def chosen(report: dict[str, Any]) -> dict[str, str]:
    """The rows that the report has: of the evaluator alone where it was asked for."""
    scored = {name for summary in report["systems"].values() for name in summary["overall"]}
    of_evaluator = {
        name: name.removeprefix(EVALUATOR)
        for name in next(iter(report["systems"].values()))["overall"]
        if name.startswith(EVALUATOR)
    }
    return of_evaluator or {name: title for name, title in rows(report["modalities"]).items() if name in scored}


def text(report: dict[str, Any], width: int = 100) -> str:
    """The table, no wider than `width` unless one system alone is wider.

    Args:
      report: as `evaluate` writes it to summary.json: dataset, split, modalities, systems.
      width: of the terminal, in columns; more systems than fit stand below one another.
    """
    systems: dict[str, Any] = report["systems"]
    first = next(iter(systems.values()))
    patients = len(first["subjects"])
    intervals = "mean [95 % interval over patients]" if patients > 1 else "mean (one patient: no interval)"
    titles = chosen(report)
    where = (
        "whole slice, as the evaluator of CDDFuse computes them"
        if all(map(_is_of_evaluator, titles))
        else "inside the brain"
    )
    lines = [
        f"{report['dataset']}, split {report['split']}: {counted(first['images'], 'slice')} of "
        f"{counted(patients, 'patient')}; {where}, {intervals}"
    ]
    if any("decomposed" in name for name in titles):
        lines.append("decomposed: from a fused image of 8 bits, with a fresh latent")
    names, together = list(systems), max((width - FIRST) // COLUMN, 1)
    for start in range(0, len(names), together):
        block = names[start : start + together]
        lines += ["", " " * FIRST + "".join(f"{name[: COLUMN - 2]:<{COLUMN}}" for name in block).rstrip()]
        lines += [
            (
                f"{title[: FIRST - 1]:<{FIRST}}" + "".join(f"{_cell(systems[name], score):<{COLUMN}}" for name in block)
            ).rstrip()
            for score, title in titles.items()
        ]
    if patients > 1 and not all(map(_is_of_evaluator, titles)):
        lines += ["", *[_worst(name, systems[name], titles) for name in names]]
    return "\n".join(lines)


def _is_of_evaluator(score: str) -> bool:
    return score.startswith(EVALUATOR)


def _cell(summary: dict[str, Any], score: str) -> str:
    found = summary["overall"].get(score)
    if found is None:
        return "-"
    if len(summary["subjects"]) == 1:
        return f"{found['mean']:.3f}"
    return f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]"


def _worst(name: str, summary: dict[str, Any], titles: dict[str, str]) -> str:
    """The patient whose lowest similarity is lowest: of what comes back, or of the fused image."""
    of_back = [score for score in titles if "decomposed" in score and score in summary["overall"]]
    chosen = of_back or [score for score in titles if score.startswith("ssim") and score in summary["overall"]]
    if not chosen:
        return f"{name}: no similarity was scored"
    value, patient, score = min(
        (values[score], subject, score) for subject, values in summary["subjects"].items() for score in chosen
    )
    mean = summary["overall"][score]["mean"]
    return f"{name}: worst patient {patient}, {titles[score]} {value:.3f} (all: {mean:.3f})"
