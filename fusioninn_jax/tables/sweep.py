"""Table 2, and the table of any other sweep: SSIM of fusion and decomposition, and the latent, run by run."""

from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence
from typing import Any

from fusioninn_jax import input_pipeline
from fusioninn_jax.score_names import BRAIN, OVER_MEAN, of_decomposed, of_fused, of_part
from fusioninn_jax.scoring.score_table import summarise
from fusioninn_jax.tables import published, render, systems

Summary = dict[str, Any]
PARTS = ("oedema", "enhancing")
LATENT = ("mean", "std", "excess_kurtosis", "autocorrelation")
# score -> (what it is, source): the paper's columns, then ours with the fused image kept as a PNG
SSIMS = {
    **{of_fused(i): ("fusion", i) for i in (1, 2)},
    **{of_decomposed("ssim", i, "float"): ("decomposition", i) for i in (1, 2)},
    **{of_decomposed("ssim", i, "8bit"): ("from 8 bits", i) for i in (1, 2)},
}


def _header(modalities: list[str], with_paper: bool) -> list[str]:
    header = [""]
    for score, (kind, source) in SSIMS.items():
        header += [f"{kind}, {modalities[source - 1]}", *(["paper"] if with_paper and score in published.SSIMS else [])]
    header += [f"{part} AUC, over the plain mean, worst patient" for part in PARTS]
    return [*header, "latent in the brain: mean, std, excess kurtosis, neighbour correlation"]


def _row(label: str, summary: Summary, ending: str, theirs: tuple[float, ...] | None, with_paper: bool) -> list[str]:
    row = [label]
    for i, score in enumerate(SSIMS):
        row.append(render.interval(summary["overall"].get(score + ending), 3))
        if with_paper and score in published.SSIMS:
            row.append(f"{theirs[i]:.3f}" if theirs else "")
    row += [_conspicuity(summary, part) for part in PARTS]
    moments = summary["latent"].get("brain")
    return [*row, ", ".join(f"{moments[name]:.2f}" for name in LATENT) if moments else "—"]


def _conspicuity(summary: Summary, part: str) -> str:
    """How a part of the tumour stands out in the fused images."""
    overall = (summary.get("conspicuity") or {"overall": {}})["overall"]
    of, over_mean = (overall.get(of_part("auc", part, which)) for which in ("", OVER_MEAN))
    if of is None or over_mean is None:
        return "—"
    return f"{of['mean']:.3f}, {over_mean['mean']:+.3f}, {of['worst']:.3f} {of['worst_subject']}"


def tables(
    sections: dict[str, dict[str, str]], summaries: dict[str, Summary], modalities: list[str]
) -> list[render.Table]:
    """Two tables a section: whole slices, with the paper's numbers where it has that row, and inside the brain.

    Args:
      sections: section -> row -> run, as a sweep's TABLE.
      summaries: of each run: `overall` scores, moments of the `latent`, `conspicuity` of the tumour.
      modalities: the sources' names.
    """
    found = []
    for section, rows in sections.items():
        theirs = published.TABLE2.get(section, {})
        for where, ending in (("whole slices", ""), ("inside the brain", BRAIN)):
            with_paper = bool(theirs) and not ending
            lines = [
                _row(label, summaries[name], ending, theirs.get(label), with_paper) for label, name in rows.items()
            ]
            found.append(render.Table(f"{section}, {where}", _header(modalities, with_paper), lines))
    return found


def run(path: str, asked: systems.TableRequest, overrides: Sequence[str] = ()) -> pathlib.Path:
    """Trains the runs that are missing, scores them, writes the table; returns the Markdown's path.

    Args:
      path: of the sweep, a Python file.
      asked: what is scored, and where things lie.
      overrides: `--config.KEY=VALUE`, for every run.

    Raises:
      UserError: as `systems`.
    """
    sweep = systems.load_sweep(path)
    name = pathlib.Path(path).stem
    root = asked.root or pathlib.Path("runs") / name
    sections = getattr(sweep, "TABLE", None) or {name: {run: run for run in sweep.RUNS}}
    wanted = list(dict.fromkeys(run for rows in sections.values() for run in rows.values()))
    workdirs = systems.train_missing(sweep, wanted, root, asked.base, overrides)
    compared = systems.load(workdirs.values(), [], {workdir: run for run, workdir in workdirs.items()})
    data = systems.data_config(compared, asked.dataset, asked.data_dir)
    prepared = input_pipeline.open_dataset(data.data)
    out = asked.out or root
    summaries: dict[str, Summary] = {}
    for system in compared:
        rows, further = systems.scores(system, prepared, data, asked.scoring("ssim"), out / "scores")
        summaries[system.label] = summarise(rows) | further
    numbers = [
        {"run": run, "score": score, "worst": None, "worst_subject": None, **value}
        for run, summary in summaries.items()
        for of in (summary, summary.get("conspicuity") or {"overall": {}})
        for score, value in of["overall"].items()
    ]
    images = next(iter(summaries.values()))["images"]
    title = f"{name} on {data.data.dataset}, split {asked.split}: {images} images"
    print(render.write(out, name, title, tables(sections, summaries, list(prepared.modalities)), numbers))
    return out / f"{name}.md"


def add_arguments(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    """Gives `parser` the command line of `report sweep`, and with a `default` sweep that of `report table2`."""
    systems.add_arguments(parser)
    parser.add_argument(
        "--sweep", default=default, required=default is None, help="file of a sweep, e.g. configs/sweeps/table2.py"
    )
    parser.set_defaults(run=lambda args, overrides: run(args.sweep, systems.request(args), overrides))
