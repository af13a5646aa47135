"""One study to look at: `python -m fusioninn_jax.report study T1GD FLAIR [--mask SEG] -o study.html`.

One file to work with, offline: sources, fused image, what comes back from the fused image alone (the mean over samples
of the latent), its errors and the spread of the samples, in three planes, and the scores of every slice. It names
neither files nor patients.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fusioninn_jax.formats import files
from fusioninn_jax.formats.series import Series, check_same_grid
from fusioninn_jax.runtime import outputs
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import examination, fusing, page_colour, page_content, reading, study_negatives
from fusioninn_jax.studies.examination import Examination

FIGURE_ROWS = 3
ERROR_SPAN, UNCERTAINTY_SPAN = page_content.ERROR_SPAN / 100, page_content.UNCERTAINTY_SPAN / 100


@dataclasses.dataclass(frozen=True)
class StudyPage:
    """What `report study` is asked for.

    Attributes:
      sources: series of the study, on one grid unless `resample`.
      output: the page.
      labels: what the series are, one for each.
      mask: of the tumour, on the grid of the first series.
      checkpoint: folder of a training; None for the model that ships.
      slices: shown on the page; None for all that its size allows.
      samples, seed: of the latent.
      figure: where a figure of three slices goes, if anywhere.
      resample: bring the other series to the grid of the first.
      fill_value: what marks missing voxels; None where nothing does.
      inverted: numbers, from 1, of the series that are fused, and shown, as negatives.
      overwrite: replace what is there.
    """

    sources: tuple[pathlib.Path, ...]
    output: pathlib.Path
    labels: tuple[str, ...]
    mask: pathlib.Path | None = None
    checkpoint: str | None = None
    slices: int | None = None
    samples: int = 8
    seed: int = 0
    figure: pathlib.Path | None = None
    resample: bool = False
    fill_value: float | None = None
    inverted: tuple[int, ...] = ()
    overwrite: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives a `parser` the arguments of `report study`."""
    reading.add_series_arguments(parser)
    study_negatives.add_argument(parser)
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path, help="the page, .html")
    parser.add_argument(
        "--mask",
        type=pathlib.Path,
        help="annotation of the tumour on the grid of the first series, "
        "a binary mask or BraTS' labels; it is outlined, and how conspicuous it is measured",
    )
    parser.add_argument("--labels", nargs="+", help="what the series are, e.g. T1-Gd T2-FLAIR; they go on the page")
    parser.add_argument(
        "--slices",
        type=int,
        help="slices on the page, spread evenly over the brain; default: all "
        f"that {page_content.LARGEST // 10**6} MB hold",
    )
    parser.add_argument("--samples", type=reading.samples, default=8, help="draws of the latent to average")
    parser.add_argument("--seed", type=reading.seed, default=0, help="of the latent")
    parser.add_argument("--figure", type=pathlib.Path, help="also a figure of three slices, .png")
    parser.set_defaults(run=lambda args, overrides: write(_wishes(args)))


def _wishes(args: argparse.Namespace) -> StudyPage:
    labels = args.labels or [f"source {i}" for i in range(1, len(args.sources) + 1)]
    return StudyPage(
        tuple(args.sources),
        args.output,
        tuple(labels),
        args.mask,
        args.checkpoint,
        args.slices,
        args.samples,
        args.seed,
        args.figure,
        args.resample,
        args.fill_value,
        args.invert,
        args.overwrite,
    )


def write(wishes: StudyPage) -> pathlib.Path:
    """Fuses, decomposes and scores a study, and writes the page and the figure; returns the path of the page.

    Args:
      wishes: what is asked for.

    Raises:
      UserError: series or mask that cannot be read or lie on other grids, a model that cannot decompose, an output
        that cannot be written.
    """
    names = [wishes.output] + ([wishes.figure] if wishes.figure else [])
    few = wishes.samples < 2 or (wishes.slices is not None and wishes.slices < 1)
    if len(wishes.sources) < 2 or len(wishes.labels) != len(wishes.sources) or few:
        raise UserError("report study: two series at least, a label for each, --samples 2 or more, --slices 1 or more")
    if wishes.figure and wishes.figure.suffix.lower() != ".png":
        raise UserError(f"{wishes.figure}: the figure is a .png; give it this ending")
    outputs.check(names, inputs=[*wishes.sources, *([wishes.mask] if wishes.mask else [])], overwrite=wishes.overwrite)
    trained = fusing.load(wishes.checkpoint)
    if trained.model.decompose is None:
        raise UserError("report study: the model of this checkpoint cannot decompose; give a FusionINN --checkpoint")
    sources = reading.read_sources(wishes.sources, resample=wishes.resample, fill_value=wishes.fill_value)
    sources = study_negatives.as_negatives(sources, wishes.inverted, [str(path) for path in wishes.sources])
    study = examination.examine(
        trained,
        sources,
        _tumour(wishes, sources[0]),
        [f"{label}, negative" if i in wishes.inverted else label for i, label in enumerate(wishes.labels, 1)],
        samples=wishes.samples,
        seed=wishes.seed,
        annotation_name=wishes.mask.name if wishes.mask else "",
    )
    with outputs.new_files(*names, overwrite=wishes.overwrite) as temporaries:
        temporaries[0].write_text(page_content.render(study, wishes.slices), encoding="utf-8")
        if wishes.figure:
            figure(study).savefig(temporaries[1], format="png", dpi=130, bbox_inches="tight")
    return wishes.output


def _tumour(wishes: StudyPage, first: Series) -> np.ndarray:
    """(Z, H, W) the mask as stored, on the grid of the first series; zeros without one."""
    if not wishes.mask:
        return np.zeros(first.stored.shape, np.uint8)
    mask = files.read(wishes.mask)
    check_same_grid(first, mask, str(wishes.sources[0]), str(wishes.mask))
    return mask.stored


def figure_slices(study: Examination) -> np.ndarray:
    """Three slices of a `study`, spread evenly over those with a tumour, else those with brain, else over all."""
    for content in (study.tumour > 0, study.brain, np.ones_like(study.brain)):
        z = np.flatnonzero(content.any((1, 2)))
        if len(z):
            break
    return np.unique(z[np.linspace(0, len(z) - 1, FIGURE_ROWS + 2)[1:-1].round().astype(int)])


def _columns(study: Examination) -> list[tuple[str, np.ndarray, float]]:
    """Title, (Z, Y, X) images, (Z, Y, X, 3) coloured ones, and, for a map, the value of its brightest colour."""
    error = np.abs(study.decomposed - study.sources)
    labels, coloured = list(enumerate(study.labels)), page_colour.coloured
    span = study.high - study.low
    return [
        *[(label, coloured(study.sources[i], study.chroma[i], span[i]), 0.0) for i, label in labels],
        ("fused", coloured(study.fused, study.fused_chroma), 0.0),
        *[
            (f"{label}, decomposed", coloured(study.decomposed[i], study.chroma[i], span[i]), 0.0)
            for i, label in labels
        ],
        *[(f"{label}, |error|", error[i], ERROR_SPAN) for i, label in labels],
        *[(f"{label}, uncertainty", study.error[i], UNCERTAINTY_SPAN) for i, label in labels],
    ]


def figure(study: Examination) -> Figure:
    """A row a slice, a column a panel, the tumour outlined: the paper's Fig. 5 for this `study`."""
    slices, columns = figure_slices(study), _columns(study)
    result = Figure(figsize=(1.7 * len(columns), 1.8 * len(slices)))
    axes = result.subplots(len(slices), len(columns), squeeze=False)
    for z, row in zip(slices, axes, strict=True):
        for (_, images, span), axis in zip(columns, row, strict=True):
            axis.imshow(images[z], cmap=matplotlib.colormaps["magma" if span else "gray"], vmin=0, vmax=span or 1)
            if study.tumour[z].any() and not span:
                axis.contour(study.tumour[z] > 0, levels=[0.5], colors="#ffd600", linewidths=0.7)
            axis.set_axis_off()
    for (title, _, _), axis in zip(columns, axes[0], strict=True):
        axis.set_title(title, fontsize=7)
    result.tight_layout(pad=0.2)
    return result
