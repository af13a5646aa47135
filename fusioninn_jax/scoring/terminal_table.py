"""An evaluation on a terminal: the paper's five, similarity and decomposition inside the brain, the worst patient.

Or every score: the report's Markdown, its tables cut to the width of the terminal.
"""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from fusioninn_jax.metrics import cddfuse
from fusioninn_jax.runtime.words import counted
from fusioninn_jax.score_names import BRAIN, of_decomposed, of_fused
from fusioninn_jax.scoring import image_scores
from fusioninn_jax.scoring.statistics import interval_text

EVALUATOR = f"{image_scores.EVALUATOR}_"  # starts the names of its scores
FIRST, COLUMN = 34, 22  # widths: a column holds "0.955 [0.948, 0.961]"
WHERE = {
    "evaluator": "whole slice, as the evaluator of CDDFuse computes them",
    "table1": "whole slice, as in the paper's Table 1",
}
SIMILARITIES = ("q_ssim", f"{EVALUATOR}SSIM")  # by which the worst patient is told where nothing is decomposed
KEPT = "8bit"  # decomposition is told from a fused image kept as a PNG keeps it


def rows(modalities: Sequence[str]) -> dict[str, str]:
    """Score -> its title, in the order of the table.

    Args:
      modalities: names of the sources.
    """
    return (
        {name + BRAIN: title for name, title in image_scores.TITLES.items()}
        | {of_fused(i) + BRAIN: f"SSIM with {name}" for i, name in enumerate(modalities, 1)}
        | {
            of_decomposed("ssim", i, KEPT) + BRAIN: f"SSIM of {name}, decomposed"
            for i, name in enumerate(modalities, 1)
        }
    )


def chosen(report: dict[str, Any], metrics: str = "all") -> dict[str, str]:
    """The rows that the report has; the evaluator's or the paper's Table 1 alone, where these were asked for.

    Args:
      report: as `text` takes it.
      metrics: which set was asked for, of `image_scores.METRIC_SETS`.
    """
    scored = {name for summary in report["systems"].values() for name in summary["overall"]}
    titles = {"evaluator": {EVALUATOR + name: name for name in cddfuse.NAMES}, "table1": _of_table1()}.get(
        metrics, rows(report["modalities"])
    )
    return {name: title for name, title in titles.items() if name in scored}


def _of_table1() -> dict[str, str]:
    """Of whole slices, Q XY and Q P in the form that was published."""
    published = {plain: name for name, plain in image_scores.PUBLISHED.items()}
    return {published.get(name, name): title for name, title in image_scores.TITLES.items()}


def text(report: dict[str, Any], width: int = 100, metrics: str = "all") -> str:
    """The table, no wider than `width` unless one system alone is wider.

    Args:
      report: as `evaluate` writes it to summary.json: dataset, split, modalities, systems.
      width: of the terminal, in columns; more systems than fit stand below one another.
      metrics: which set was asked for, of `image_scores.METRIC_SETS`.
    """
    systems: dict[str, Any] = report["systems"]
    first = next(iter(systems.values()))
    patients = len(first["subjects"])
    intervals = "mean [95 % interval over patients]" if patients > 1 else "mean (one patient: no interval)"
    titles = chosen(report, metrics)
    where = WHERE.get(metrics, "inside the brain")
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
    if patients > 1:
        lines += ["", *[_worst(name, systems[name], titles) for name in names]]
    return "\n".join(lines)


def _cell(summary: dict[str, Any], score: str) -> str:
    found = summary["overall"].get(score)
    if found is None:
        return "-"
    if len(summary["subjects"]) == 1:
        return f"{found['mean']:.3f}"
    return interval_text(found, digits=3)


def _worst(name: str, summary: dict[str, Any], titles: dict[str, str]) -> str:
    """The patient whose lowest similarity is lowest: of what comes back, or of the fused image."""
    of_back = [score for score in titles if "decomposed" in score and score in summary["overall"]]
    chosen = of_back or [score for score in titles if score.startswith("ssim") and score in summary["overall"]]
    chosen = chosen or [score for score in SIMILARITIES if score in titles and score in summary["overall"]]
    if not chosen:
        return f"{name}: no similarity was scored"
    value, patient, score = min(
        (values[score], subject, score) for subject, values in summary["subjects"].items() for score in chosen
    )
    mean = summary["overall"][score]["mean"]
    return f"{name}: worst patient {patient}, {titles[score]} {value:.3f} (all: {mean:.3f})"


def fitting(markdown: str, width: int) -> str:
    """A report as `score_table.markdown` writes it, its tables in aligned columns that fit a terminal.

    Args:
      markdown: the report.
      width: of the terminal, in columns; columns that do not fit beside one another stand below, in blocks of their
        own, and only a column that is wider alone goes beyond.
    """
    lines: list[str] = []
    for is_table, group in itertools.groupby(markdown.splitlines(), lambda line: line.startswith("| ")):
        if is_table:
            plain = [line.removeprefix("| ").removesuffix(" |").replace("**", "") for line in group]
            header, _, *body = [line.split(" | ") for line in plain]
            lines += "\n\n".join("\n".join(block) for block in _blocks([header, *body], width)).split("\n")
        else:
            for line in group:
                lines += textwrap.wrap(line, width) or [""]
    return "\n".join(lines)


def _blocks(rows: Sequence[Sequence[str]], width: int) -> Iterator[list[str]]:
    """The rows of a table, as many columns at a time as fit, each time after those that say what a row is of."""
    widths = [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]
    keys = _keys(rows)
    start, end = keys, len(widths)
    while start < end:
        stop = start + 1
        while stop < end and sum(widths[:keys]) + sum(widths[start : stop + 1]) - 2 <= width:
            stop += 1
        places = [*range(keys), *range(start, stop)]
        yield ["".join(f"{row[i]:<{widths[i]}}" for i in places).rstrip() for row in rows]
        start = stop


def _keys(rows: Sequence[Sequence[str]]) -> int:
    """How many columns at the left, one at least, hold words alone."""
    for number, (_, *column) in enumerate(zip(*rows, strict=True)):
        if number and (not any(column) or any(re.match(r"[-+]?\d|nan", cell) for cell in column)):
            return number
    return 1
