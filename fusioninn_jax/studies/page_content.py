"""An examined study as one HTML file without external resources: volumes, scores, the viewer of `templates/viewer`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jinja2
import matplotlib
import nibabel as nib
import numpy as np

from fusioninn_jax.runtime import cores
from fusioninn_jax.studies import packed_volume, page_colour, slice_scores
from fusioninn_jax.studies.examination import Examination
from fusioninn_jax.studies.packed_volume import Packed

LARGEST = 15_000_000  # bytes of a page
COARSE_SIDE = 320  # pixels; a larger slice is shown at half its size before slices are left out
ERROR_SPAN, UNCERTAINTY_SPAN = 20.0, 5.0  # per cent of a slice's range: what maps show at first
GREY_LEVELS, MAP_LEVELS = 255, 63
PERCENT, INTENSITY = "% of range", "intensity"
COLOURED = " Its luma is fused; the colours are kept beside it."


@dataclasses.dataclass(frozen=True)
class Panel:
    """One volume of the page.

    Attributes:
      key, title, meaning: for the page's code, its caption, and a sentence for people.
      stored: (Z, Y, X) uint8, 0 … levels, or None for what the page makes of others (`of`).
      levels: of `stored`.
      low, high: value of level 0 and of the last one, (Z,) or for all slices.
      unit: of the values.
      window: the values shown black and white at first.
      group: panels of one group share a window.
      of: keys of the panels that this one is stored against, or made of.
      is_map: shown in colours.
      tint: the panel whose own colours this one has, "" of grey ones.
    """

    key: str
    title: str
    meaning: str
    stored: np.ndarray | None
    levels: int
    low: np.ndarray | float
    high: np.ndarray | float
    unit: str
    window: tuple[float, float]
    group: str
    of: tuple[str, ...] = ()
    is_map: bool = False
    tint: str = ""


def render(study: Examination, slices: int | None = None) -> str:
    """The page.

    Args:
      study: an examined study.
      slices: how many slices to show, spread evenly; None for all. Fewer, and larger pixels, where the page would not
        stay below `LARGEST`.
    """
    kept, shrink = spread(len(study.fused), slices), 1
    while True:
        page = _render(study, kept, shrink)
        if len(page) <= LARGEST or len(kept) == 1:
            return page
        if max(study.fused.shape[1:]) // shrink > COARSE_SIDE:
            shrink *= 2
        else:
            kept = spread(len(study.fused), max(int(0.97 * len(kept) * LARGEST / len(page)), 1))


def spread(length: int, count: int | None) -> np.ndarray:
    """`count` of `length` places, spread evenly; all where it is None or more.

    Args:
      length: how many places there are.
      count: how many are wanted, 1 at least.
    """
    if count is None or count >= length:
        return np.arange(length)
    return np.unique(np.linspace(0, length - 1, count).round().astype(int)) if count > 1 else np.array([length // 2])


def panels(study: Examination, kept: np.ndarray, shrink: int = 1) -> list[Panel]:
    """Sources, fused image, decomposed images, their errors and what these were expected to be.

    Args:
      study: examined.
      kept: numbers of the slices on the page, from 0.
      shrink: pixels of a slice, along either side, that become one on the page.
    """

    def levels(images: np.ndarray, span: float, count: int) -> np.ndarray:
        return packed_volume.to_bytes(packed_volume.coarse(images[kept], shrink), span, count)

    def grey(images: np.ndarray) -> np.ndarray:
        return levels(images, 1, GREY_LEVELS)

    labels = list(enumerate(study.labels))
    uncertainties = [levels(study.error[i], UNCERTAINTY_SPAN / 100, MAP_LEVELS) for i, _ in labels]
    return [
        *[_source(study, i, label, kept, grey(study.sources[i])) for i, label in labels],
        _fused(study, grey(study.fused)),
        *[_decomposed(study, i, label, kept, grey(study.decomposed[i])) for i, label in labels],
        *[_error(i, label) for i, label in labels],
        *[_uncertainty(study, i, label, uncertainties[i]) for i, label in labels],
    ]


def _intensities(
    study: Examination, i: int, kept: np.ndarray, stored: np.ndarray, *, key: str, title: str, meaning: str
) -> Panel:
    """Grey values in the units, the window and the colours of source `i`."""
    low, high, own = study.low[i][kept], study.high[i][kept], f"source-{i + 1}"
    tint = "" if study.chroma[i] is None else own
    return Panel(key, title, meaning, stored, GREY_LEVELS, low, high, INTENSITY, _window(study, i), own, tint=tint)


def _source(study: Examination, i: int, label: str, kept: np.ndarray, stored: np.ndarray) -> Panel:
    meaning = f"{label} as in the file." + (COLOURED if study.chroma[i] is not None else "")
    return _intensities(study, i, kept, stored, key=f"source-{i + 1}", title=label, meaning=meaning)


def _fused(study: Examination, stored: np.ndarray) -> Panel:
    meaning = "The fused image, 0 to 1; each slice was fused in the range of its own minimum and maximum."
    tint = "" if study.fused_chroma is None else "fused"
    return Panel("fused", "fused", meaning, stored, GREY_LEVELS, 0, 1, "of range", (0, 1), "fused", tint=tint)


def _decomposed(study: Examination, i: int, label: str, kept: np.ndarray, stored: np.ndarray) -> Panel:
    key, title = f"decomposed-{i + 1}", f"{label}, decomposed"
    meaning = f"{label} as it comes back from the fused image alone: the mean over {study.samples} draws of the latent."
    panel = _intensities(study, i, kept, stored, key=key, title=title, meaning=meaning)
    return dataclasses.replace(panel, of=(panel.group,))


def _error(i: int, label: str) -> Panel:
    meaning = (
        f"Absolute difference between {label} and its decomposed image, in per "
        "cent of the range of the slice, in steps of 0.4: where what comes back is wrong."
    )
    of, title = (f"source-{i + 1}", f"decomposed-{i + 1}"), f"{label}, |error|"
    window = (0, ERROR_SPAN)
    return Panel(f"error-{i + 1}", title, meaning, None, GREY_LEVELS, 0, 100, PERCENT, window, "error", of, True)


def _uncertainty(study: Examination, i: int, label: str, stored: np.ndarray) -> Panel:
    units = f"in per cent of the range of the slice (cut off at {UNCERTAINTY_SPAN:g})"
    meaning = (
        f"The error that {label}, decomposed, is expected to have, one standard deviation, {units}: what it was on "
        f"other patients where {study.samples} draws differed as much. It holds for scans like theirs."
        if study.calibrated
        else f"Standard deviation of {label} over the {study.samples} draws, {units}: where the fused image leaves "
        "open what was there. It says nothing of errors that all draws share; this model has no calibration."
    )
    key, title, high = f"uncertainty-{i + 1}", f"{label}, uncertainty", UNCERTAINTY_SPAN
    return Panel(key, title, meaning, stored, MAP_LEVELS, 0, high, PERCENT, (0, high), "uncertainty", is_map=True)


def _window(study: Examination, i: int) -> tuple[float, float]:
    """Darkest hundredth of the voxels to the brightest two thousandths of the brain's, in units of the source."""
    low, high = study.low[i][:, None, None], study.high[i][:, None, None]
    values = (low + study.sources[i] * (high - low))[:: max(len(low) // 32, 1), ::2, ::2]
    inside = values[study.brain[:: max(len(low) // 32, 1), ::2, ::2]]
    bottom = float(np.percentile(values, 1))
    top = float(np.percentile(inside if inside.size else values, 99.8))
    return bottom, top if top > bottom else bottom + 1


def _render(study: Examination, kept: np.ndarray, shrink: int) -> str:
    shown, colours = panels(study, kept, shrink), page_colour.tints(study.chroma, study.fused_chroma, kept, shrink)
    tumour = study.tumour[kept][:, ::shrink, ::shrink] if shrink > 1 else study.tumour[kept]
    height, width = (length // shrink for length in study.tumour.shape[1:])
    tumour = tumour[:, :height, :width]
    stored = {panel.key: panel.stored for panel in shown if panel.stored is not None}
    with cores.pool(2) as pool:
        jobs = {
            panel.key: pool.submit(
                packed_volume.pack,
                stored[panel.key],
                stored[panel.of[0]] if panel.of else None,
                smooth=not panel.is_map,
            )
            for panel in shown
            if panel.stored is not None
        }
        packed = {key: job.result() for key, job in jobs.items()}
    if study.tumour.any():
        packed["tumour"] = packed_volume.pack(tumour, smooth=False)
    data = {
        **_geometry(study, kept, shrink, (height, width)),
        **_contents(study, tumour),
        "volumes": [_described(panel, packed, colours) for panel in shown],
    }
    environment = jinja2.Environment(loader=jinja2.PackageLoader("fusioninn_jax"), autoescape=True)
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment.get_template("study.html").render(
        data=data,
        voxels={key: volume.text for key, volume in packed.items()} | page_colour.packed(colours),
        kept=_kept_in_words(study, kept, shrink),
        means=slice_scores.means(study.scores),
        lesion=study.conspicuity,
    )


def _kept_in_words(study: Examination, kept: np.ndarray, shrink: int) -> str:
    whole, box = study.whole[0], len(study.fused)
    words = (
        "One image"
        if whole == 1
        else (f"Slices {study.corner[0] + 1} to {study.corner[0] + box} of {whole}, cut to the brain")
    )
    words += "." if len(kept) == box else f"; {len(kept)} of them, spread evenly."
    return words + ("" if shrink == 1 else f" Each pixel shown is the mean of {shrink}x{shrink}.")


def _geometry(study: Examination, kept: np.ndarray, shrink: int, size: tuple[int, int]) -> dict[str, Any]:
    """Where the voxels lie: shape, size in mm, which way the axes z, y, x run, numbers of the slices in the file."""
    spacing = np.linalg.norm(study.affine[:3, :3], axis=0)[::-1]
    between = (kept[-1] - kept[0]) / (len(kept) - 1) if len(kept) > 1 else 1
    axes = [str(code) for code in nib.aff2axcodes(study.affine)][::-1] if study.geometry else None
    return {
        "shape": [len(kept), *size],
        "spacing": [float(spacing[0] * between), *map(float, spacing[1:] * shrink)],
        "axes": axes,
        "numbers": [int(z) + study.corner[0] + 1 for z in kept],
        "corner": list(study.corner),
        "whole": list(study.whole),
        "shrink": shrink,
        "firstScored": study.corner[0] + 1,
        "scored": len(study.fused),
    }


def _contents(study: Examination, tumour: np.ndarray) -> dict[str, Any]:
    area = float(np.prod(np.linalg.norm(study.affine[:3, :2], axis=0))) if study.geometry else 1.0
    areas = (study.tumour > 0).sum((1, 2)) * area
    start = int(np.argmax((tumour > 0).sum((1, 2)))) if tumour.any() else len(tumour) // 2
    place = np.argwhere(tumour[start]).mean(0) if tumour.any() else np.array(tumour.shape[1:]) / 2
    magma = (matplotlib.colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8)
    return {
        "labels": list(study.labels),
        "samples": study.samples,
        "seed": study.seed,
        "start": [start, *[min(int(value), size - 1) for value, size in zip(place, tumour.shape[1:], strict=True)]],
        "fused": len(study.labels),
        "colours": magma.tobytes().hex(),
        "areaUnit": "mm²" if study.geometry else "pixels",
        "tumour": {"labels": [int(k) for k in np.unique(study.tumour) if k], "areas": _numbers(areas, 6)}
        if study.tumour.any()
        else None,
        "scores": {name: _numbers(values, 4) for name, values in study.scores.items() if np.isfinite(values).any()},
    }


def _numbers(values: np.ndarray | Sequence[float], digits: int) -> list[float | None]:
    """For JSON: rounded to so many significant digits; None where there is no number."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in map(float, values)]


def _described(panel: Panel, packed: dict[str, Packed], colours: dict[str, page_colour.Tint]) -> dict[str, Any]:
    """A panel without its voxels, for the page's code."""
    low, high = (_numbers(bound, 7) if isinstance(bound, np.ndarray) else bound for bound in (panel.low, panel.high))
    return {
        "key": panel.key,
        "title": panel.title,
        "meaning": panel.meaning,
        "levels": panel.levels,
        "low": low,
        "high": high,
        "unit": panel.unit,
        "window": _numbers(panel.window, 7),
        "group": panel.group,
        "limits": _numbers([np.min(panel.low), np.max(panel.high)], 7),
        "of": list(panel.of),
        "map": "colours" if panel.is_map else "grey",
        "tint": {"of": panel.tint, "span": colours[panel.tint].span} if panel.tint else None,
        "coding": packed[panel.key].coding if panel.key in packed else "error",
    }
