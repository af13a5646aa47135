"""One study to look at: `python -m fusioninn_jax.report study T1GD FLAIR [--mask SEG] -o study.html`.

A self-contained page: sources, fused image, what comes back from the fused image alone (the mean over samples of the
latent), its errors and the spread of the samples, slice by slice, and the fusion metrics. It names neither files nor
patients.
"""
from __future__ import annotations

import argparse
import base64
import io
import pathlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jinja2
import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fusioninn_jax import metrics, regions
from fusioninn_jax.formats import colour, files
from fusioninn_jax.formats.series import check_same_grid
from fusioninn_jax.runtime import outputs
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.score_names import CONSPICUITY, MEAN, OVER_BEST, OVER_MEAN, of_part
from fusioninn_jax.scoring import lesion_scores
from fusioninn_jax.scoring.image_scores import TABLE1
from fusioninn_jax.studies import fusing, reading

ERROR_SPAN, SPREAD_SPAN = 0.2, 0.02  # maps of error and uncertainty show 0 … this, of the range of a slice
WINDOW = 11  # pixels a side of the metrics' window; what is smaller is not scored
MIN_BRAIN = 0.05  # of a slice's pixels, for it to be scored
CHUNK = 8  # slices scored at a time
FIGURE_ROWS = 3
WORSE = "SSIM, the worse of the sources and fused"


class Panel(NamedTuple):
    """What one place of the page shows: (Z, H, W) values from 0 to `span`; grey, or in colours where it is a map.

    `chroma`, (Z, H, W, 2) in parts of white, colours a panel of a study that has colours.
    """
    title: str
    images: np.ndarray
    span: float = 1.0
    is_map: bool = False
    chroma: np.ndarray | None = None


class Examined(NamedTuple):
    """A study with everything the page shows; images in the range of their slice, (Z, H, W)."""
    panels: list[Panel]
    brain: np.ndarray
    tumour: np.ndarray
    scores: dict[str, tuple[float, float]]
    conspicuity: dict[str, dict[str, list[float]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `report study`."""
    reading.add_series_arguments(parser)
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path, help="the page, .html")
    parser.add_argument("--mask", type=pathlib.Path, help="annotation of the tumour on the grid of the first series, "
                        "a binary mask or BraTS' labels; it is outlined, and how conspicuous it is measured")
    parser.add_argument("--labels", nargs="+", help="what the series are, e.g. T1-Gd T2-FLAIR; they go on the page")
    parser.add_argument("--slices", type=int, default=24, help="slices on the page, spread evenly over the brain")
    parser.add_argument("--samples", type=reading.samples, default=8, help="draws of the latent to average")
    parser.add_argument("--seed", type=reading.seed, default=0, help="of the latent")
    parser.add_argument("--figure", type=pathlib.Path, help="also a figure of three slices, .png")
    parser.set_defaults(run=lambda args, overrides: write(args))


def write(args: argparse.Namespace) -> pathlib.Path:
    """Fuses, decomposes and scores a study, and writes the page and the figure; returns the path of the page.

    Raises:
      UserError: series or mask that cannot be read or lie on other grids, a model that cannot decompose, an output
        that cannot be written.
    """
    names = [args.output] + ([args.figure] if args.figure else [])
    labels = args.labels or [f"source {i}" for i in range(1, len(args.sources) + 1)]
    if args.figure and args.figure.suffix.lower() != ".png":
        raise UserError(f"{args.figure}: the figure is a .png; give it this ending")
    if len(args.sources) < 2 or len(labels) != len(args.sources) or args.samples < 2 or args.slices < 1:
        raise UserError("report study: two series at least, a label for each, --samples 2 or more, --slices 1 or more")
    outputs.check(names, inputs=[*args.sources, *([args.mask] if args.mask else [])], overwrite=args.overwrite)
    study = examine(args, labels)
    shown = choose_slices(study, args.slices)
    environment = jinja2.Environment(loader=jinja2.PackageLoader("fusioninn_jax"), autoescape=True)
    page = environment.get_template("study.html").render(
        titles=[panel.title for panel in study.panels], labels=labels, samples=args.samples, seed=args.seed,
        error_span=ERROR_SPAN, spread_span=SPREAD_SPAN,
        numbers=[int(z) + 1 for z in shown], count=len(study.brain), scores=study.scores,
        lesion=study.conspicuity, masked=study.tumour.any(),
        start=int(np.argmax(study.tumour[shown].sum((1, 2)))) if study.tumour.any() else len(shown) // 2,
        images=[[_data_uri(_pixels(panel, z)) for panel in study.panels] for z in shown],
        outlines=[_data_uri(_overlay(outline(study.tumour[z]))) for z in shown] if study.tumour.any() else [])
    with outputs.new_files(*names, overwrite=args.overwrite) as temporaries:
        temporaries[0].write_text(page)
        if args.figure:
            rows = choose_slices(study, FIGURE_ROWS)
            figure(study, rows).savefig(temporaries[1], format="png", dpi=130, bbox_inches="tight")
    return args.output


def examine(args: argparse.Namespace, labels: list[str]) -> Examined:
    """Everything the page shows of a study."""
    trained = fusing.load(args.checkpoint)
    sources = reading.read_sources(args.sources, resample=args.resample, fill_value=args.fill_value)
    annotation = np.zeros(sources[0].stored.shape, bool)
    if args.mask:
        mask = files.read(args.mask)
        check_same_grid(sources[0], mask, str(args.sources[0]), str(args.mask))
        annotation = mask.stored
    tumour = annotation > 0
    if trained.model.decompose is None:
        raise UserError("report study: the model of this checkpoint cannot decompose; give a FusionINN --checkpoint")
    fused = fusing.fuse(trained, sources, files.FLOAT)
    mean, deviation = fusing.decompose_samples(trained, fused.volume, args.seed, args.samples)
    low, high = np.moveaxis(np.asarray(fused.volume.ranges), 0, 1).transpose(2, 0, 1)[..., None, None]
    width = np.where(high > low, high - low, 1)
    values = np.stack([source.values for source in sources])
    unit, back, spread = (values - low) / width, (mean - low) / width, deviation / width
    image = np.asarray(fused.volume.fused)
    chromas = [source.chroma.values / source.chroma.white(source.stored) if source.chroma else None
               for source in sources]
    of_fused = colour.of_fused([source.chroma for source in sources], list(values))
    panels = [Panel(label, unit[i], chroma=chromas[i]) for i, label in enumerate(labels)]
    panels.append(Panel("fused", image, chroma=of_fused))
    panels += [Panel(f"{label}, decomposed", back[i], chroma=chromas[i]) for i, label in enumerate(labels)]
    error = np.abs(back - unit)
    panels += [Panel(f"{label}, |error|", error[i], ERROR_SPAN, True) for i, label in enumerate(labels)]
    panels += [Panel(f"{label}, uncertainty", spread[i], SPREAD_SPAN, True) for i, label in enumerate(labels)]
    brain = np.asarray((values > 0).any(0))
    parts = tumour_parts(annotation, args.mask.name if args.mask else "")
    return Examined(panels, brain, tumour, scores(unit, image, back, brain, labels),
                    conspicuity(unit, image, brain, parts, labels))


def tumour_parts(annotation: np.ndarray, file_name: str) -> dict[str, np.ndarray]:
    """The whole annotation, and the parts of a tumour where its labels tell them apart: name -> (Z, H, W) bool."""
    whole = annotation > 0
    found = [int(value) for value in np.unique(annotation[whole]) if value == int(value)]
    collection = regions.collection_of(file_name, found)
    parts = {"whole annotation": whole}
    if collection is None or not np.isin(annotation[whole], found).all():
        return parts
    in_file = {ours: theirs for theirs, ours in regions.COLLECTIONS[collection].items()}
    named = {name: annotation == in_file[label] for name, label in regions.SCORED.items()}
    return parts | {name: mask for name, mask in named.items() if mask.any()}


def conspicuity(sources: np.ndarray, fused: np.ndarray, brain: np.ndarray, parts: dict[str, np.ndarray],
                labels: list[str]) -> dict[str, dict[str, list[float]]]:
    """How the annotation and its parts stand out from the other brain, the pixels of all annotated slices pooled.

    Args:
      sources: (m, Z, H, W) in [0, 1].
      fused: (Z, H, W).
      brain: (Z, H, W).
      parts: as `tumour_parts`; the first is the whole annotation.
      labels: of the sources.

    Returns:
      {measure: {part: values}}; values of the fused image, the plain mean, each source, and how much farther from
      chance the fused image is than the best source and than the mean. {} without an annotation.
    """
    whole, *_ = parts.values()
    annotated = whole.any((1, 2))
    if not (whole & brain).any():
        return {}
    masks = [brain & ~whole, *[part & brain for part in parts.values()]]
    counts = lesion_scores.levels_in([source[annotated, ..., None] for source in sources], fused[annotated, ..., None],
                                     [mask[annotated, ..., None] for mask in masks])
    names = [f"part{i}" for i in range(len(parts))]
    of = lesion_scores.patient_scores(np.asarray(counts.sum(0)), names)
    values = ["", MEAN, *range(1, len(labels) + 1), OVER_BEST, OVER_MEAN]
    return {title: {part: [of[of_part(measure, name, value)] for value in values]
                    for part, name in zip(parts, names, strict=True) if of_part(measure, name) in of}
            for measure, title in CONSPICUITY.items()}


def scores(sources: np.ndarray, fused: np.ndarray, decomposed: np.ndarray, brain: np.ndarray,
           labels: list[str]) -> dict[str, tuple[float, float]]:
    """Means over slices with at least 5 % brain, of whole slices and inside the brain.

    Args:
      sources, decomposed: (m, Z, H, W) in [0, 1].
      fused: (Z, H, W).
      brain: (Z, H, W).
      labels: of the sources.

    Returns:
      {name: (whole, brain)}: the five fusion metrics where there are two sources, and the SSIM of each with the fused
      and with its decomposed image; {} where no slice has that much brain.
    """
    @jax.jit
    def score(stack: jax.Array, fused: jax.Array, back: jax.Array, brain: jax.Array) -> dict[str, jax.Array]:
        result = {}
        for place, mask in enumerate((None, brain)):
            result[WORSE, place] = metrics.fairness(*stack, fused, mask=mask)
            for name in TABLE1 if len(labels) == 2 else ():
                clipped = fused if name == "q_ssim" else fused.clip(0, 1)
                result[name, place] = getattr(metrics, name)(stack[0], stack[1], clipped, mask=mask)
            for i, label in enumerate(labels):
                result[f"SSIM, {label} and fused", place] = metrics.decomposition_ssim(stack[i], fused, mask=mask)
                result[f"SSIM, {label} and decomposed", place] = metrics.decomposition_ssim(stack[i], back[i],
                                                                                            mask=mask)
        return {f"{place}{name}": value for (name, place), value in result.items()}

    order = [*(TABLE1 if len(labels) == 2 else ()), *[f"SSIM, {label} and {what}" for what in ("fused", "decomposed")
                                                      for label in labels], WORSE]
    is_large = min(brain.shape[1:]) >= WINDOW
    scored = np.flatnonzero((brain.mean((1, 2)) >= MIN_BRAIN) & is_large)
    found: list[dict[str, np.ndarray]] = []
    for start in range(0, len(scored), CHUNK):
        part = scored[start:start + CHUNK]
        z = np.resize(part, CHUNK)  # one shape, one compilation
        values = score(sources[:, z, ..., None], fused[z, ..., None], decomposed[:, z, ..., None], brain[z, ..., None])
        found.append({name: np.asarray(value)[:len(part)] for name, value in values.items()})
    means = {name: float(np.concatenate([part[name] for part in found]).mean()) for name in (found[0] if found else ())}
    return {name: (means[f"0{name}"], means[f"1{name}"]) for name in order if means}


def choose_slices(study: Examined, count: int) -> np.ndarray:
    """`count` slices spread evenly over those with a tumour, with brain, or over all, whichever there are."""
    for content in (study.tumour if count <= FIGURE_ROWS else study.brain, study.brain, np.ones_like(study.brain)):
        z = np.flatnonzero(content.any((1, 2)))
        if len(z):
            break
    places = np.linspace(0, len(z) - 1, count + 2)[1:-1] if count <= FIGURE_ROWS else np.linspace(0, len(z) - 1, count)
    return np.unique(z[places.round().astype(int)])


def outline(mask: np.ndarray) -> np.ndarray:
    """(H, W) bool: the pixels of a mask that touch, by an edge, one outside it."""
    padded = np.pad(mask, 1)
    inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return mask & ~inner


def _pixels(panel: Panel, z: int) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8."""
    image = np.clip(panel.images[z] / panel.span, 0, 1)
    if panel.is_map:
        return (matplotlib.colormaps["magma"](image)[..., :3] * 255).round().astype(np.uint8)
    if panel.chroma is not None:
        return (colour.paint(image, panel.chroma[z]) >> 8).astype(np.uint8)
    return (image * 255).round().astype(np.uint8)


def _overlay(line: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8: transparent but for the line."""
    return line[..., None] * np.array([255, 214, 0, 255], np.uint8)


def _data_uri(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def figure(study: Examined, slices: np.ndarray) -> Figure:
    """A row a slice, a column a panel, the tumour outlined: the paper's Fig. 5 for this study."""
    result = Figure(figsize=(1.7 * len(study.panels), 1.8 * len(slices)))
    axes = result.subplots(len(slices), len(study.panels), squeeze=False)
    for z, row in zip(slices, axes, strict=True):
        for panel, axis in _pairs(study.panels, row):
            axis.imshow(_pixels(panel, z), cmap="gray", vmin=0, vmax=255)
            if study.tumour[z].any() and not panel.is_map:
                axis.contour(study.tumour[z], levels=[0.5], colors="#ffd600", linewidths=0.7)
            axis.set_axis_off()
    for panel, axis in _pairs(study.panels, axes[0]):
        axis.set_title(panel.title, fontsize=7)
    result.tight_layout(pad=0.2)
    return result


def _pairs(panels: list[Panel], axes: Any) -> Iterator[tuple[Panel, Any]]:
    return zip(panels, axes, strict=True)
