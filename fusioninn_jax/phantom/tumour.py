"""A random glioma: core with or without necrosis, enhancing rim, oedema along white matter, mass effect."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from fusioninn_jax.anatomy import regions
from fusioninn_jax.phantom.anatomy import ATLAS_ZERO, Atlas, Tissue, Warp, warp_grid
from fusioninn_jax.phantom.fields import Grid, random_field

LABELS = {str(label): regions.LABEL_NAMES[label] for label in (regions.CORE, regions.OEDEMA, regions.ENHANCING)}


class Focus(NamedTuple):
    """One focus of a tumour; lengths in mm."""

    centre: np.ndarray  # (3,) in the subject's frame
    atlas_centre: np.ndarray  # (3,) in the atlas
    radius: float  # of the core
    shape: np.ndarray  # (3, 3), determinant 1: sphere to ellipsoid
    rim: float  # thickness of the enhancing rim
    reach: float  # of the oedema beyond the core, in white matter
    push: float  # mass effect


class Tumour(NamedTuple):
    kind: str  # 'ring': necrosis within a rim; 'solid': all of it enhances; 'non-enhancing'
    foci: tuple[Focus, ...]
    gadolinium: float  # mM in the enhancing part
    septa: float  # share of enhancing tissue in the strands of living tumour that cross the necrosis


class Lesion(NamedTuple):
    """Fractions in [0, 1], each (slices, rows, columns); what they leave is healthy tissue."""

    core: np.ndarray
    oedema: np.ndarray
    enhancing: np.ndarray


def random_tumour(rng: np.random.Generator, atlas: Atlas, warp: Warp) -> Tumour:
    """Draws a tumour in the white matter of the cerebrum; one in six has a second, smaller focus.

    Args:
      rng: draws it.
      atlas: healthy anatomy, see `anatomy.load_atlas`.
      warp: from the subject to the atlas.
    """
    kind = str(rng.choice(["ring", "solid", "non-enhancing"], p=[0.80, 0.07, 0.13]))
    grid = Grid(*(np.arange(0, n, 4, dtype=np.float32) for n in (189, 240, 240)))
    places, atlas_places = _sites(atlas, warp, grid)
    first = rng.integers(len(places))
    foci = [_random_focus(rng, places[first], atlas_places[first], rng.uniform(13, 22))]
    distance = np.linalg.norm(places - places[first], axis=1)
    same_side = (atlas_places[:, 2] > ATLAS_ZERO[2]) == (atlas_places[first, 2] > ATLAS_ZERO[2])
    near = np.flatnonzero(same_side & (distance > 28) & (distance < 50))
    if rng.random() < 1 / 6 and len(near):
        second = rng.choice(near)
        foci.append(_random_focus(rng, places[second], atlas_places[second], rng.uniform(6, 9)))
    return Tumour(kind, tuple(foci), float(rng.uniform(0.2, 0.5)), float(rng.uniform(0, 0.8)))


def _sites(atlas: Atlas, warp: Warp, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Points of the grid in cerebral white matter away from the midline: positions in the subject and the atlas."""
    points = warp_grid(warp, grid).reshape(3, -1).T
    up, back, side = (points - ATLAS_ZERO).T
    white = ndimage.map_coordinates(atlas.white, points.T, order=1)
    side = np.abs(side)
    frontal_parietal = (up > 4) & (up < 50) & (side > 20)
    temporal = (up > -22) & (up <= 4) & (side > 34) & (back < 35)
    chosen = (white > 0.7) & (frontal_parietal | temporal)
    return np.stack(np.meshgrid(*grid, indexing="ij"), -1).reshape(-1, 3)[chosen], points[chosen]


def _random_focus(rng: np.random.Generator, centre: np.ndarray, atlas_centre: np.ndarray, radius: float) -> Focus:
    rotation = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    axes = np.exp(rng.uniform(-0.25, 0.25, 3))
    shape = rotation @ np.diag(axes / np.cbrt(axes.prod())) @ rotation.T
    return Focus(
        centre,
        atlas_centre,
        float(radius),
        shape,
        float(rng.uniform(2.0, 4.5)),
        float(rng.uniform(8, 26)),
        float(radius * rng.uniform(0.1, 0.35)),
    )


def grow(rng: np.random.Generator, tumour: Tumour, grid: Grid, points: np.ndarray, tissue: Tissue) -> Lesion:
    """The tumour's compartments on some slices.

    The core is an ellipsoid with an irregular surface that stops at fluid. Oedema spreads beyond it as far as `reach`
    times the local share of white matter, hence its fingers between the sulci; it stays in its hemisphere.

    Args:
      rng: irregularity of the surfaces.
      tumour: see `random_tumour`.
      grid: the slices' pixels in the subject's frame.
      points: (3, slices, rows, columns) atlas positions of the pixels.
      tissue: healthy tissue there.
    """
    broad, middle, fine, other = (random_field(rng, grid, knot) for knot in (18.0, 10.0, 5.0, 10.0))
    surface = 0.16 * broad + 0.11 * middle + 0.05 * fine
    pixel = float(grid.x[1] - grid.x[0])
    conductive = _blur(tissue.white, 0.7 / pixel)
    # a tumour closes its rim beneath the brain's surface and the ventricles' walls; depth is about Phi(mm / 6)
    barrier, cover = 6 * tissue.fluid + 8 * _blur(tissue.fluid, 1.5 / pixel), 15 * (tissue.depth - 0.5)
    inside, within_rim, spread = (np.full(grid.shape, -np.inf, np.float32) for _ in range(3))
    for focus in tumour.foci:
        depth = focus.radius * (1 - _radius(focus, grid) + surface) - barrier  # mm below the tumour's surface
        depth = np.minimum(depth, cover)
        rim = focus.rim * np.exp(0.5 * other + 0.25 * fine)
        inside, within_rim = np.maximum(inside, depth), np.maximum(within_rim, depth - rim)
        reach = focus.reach * (1.15 * conductive - 0.1) * (0.75 + 0.3 * broad + 0.25 * middle)
        side = (points[2] - ATLAS_ZERO[2]) * np.sign(focus.atlas_centre[2] - ATLAS_ZERO[2])
        spread = np.maximum(spread, depth + np.where(side > -1, reach, -9))
    core = _edge(inside, 0.6) * tissue.brain
    oedema = np.maximum(_edge(spread, 1.0) * tissue.brain * (1 - tissue.fluid), core) - core
    oedema = oedema * _large_parts(core + oedema > 0.5, 15 / pixel**2)
    septa = tumour.septa * np.clip(1.5 - np.abs(middle + 0.3 * fine) / 0.15, 0, 1)
    inner = {"ring": _edge(within_rim, 0.6) * (1 - septa), "solid": 0.0, "non-enhancing": 1.0}[tumour.kind] * core
    return Lesion(inner, oedema, core - inner)


def _large_parts(lesion: np.ndarray, least: float) -> np.ndarray:
    """False, slice by slice, on and about islands below a tenth of the lesion or `least` pixels; else True."""
    keep = np.ones(lesion.shape, bool)
    for row, flat in enumerate(lesion):
        islands, count = ndimage.label(flat)
        areas = np.bincount(islands.ravel(), minlength=count + 1)
        small = areas < max(0.1 * areas[1:].sum(), least)
        small[0] = False
        keep[row] = ~ndimage.binary_dilation(small[islands], iterations=2)
    return keep


def _radius(focus: Focus, grid: Grid) -> np.ndarray:
    """Distance from the centre in units of the core's radius along that direction."""
    offset = np.stack(np.meshgrid(*(a - c for a, c in zip(grid, focus.centre, strict=True)), indexing="ij"))
    sphere = np.einsum("ij,jzyx->izyx", np.linalg.inv(focus.shape).astype(np.float32), offset)
    return np.linalg.norm(sphere, axis=0) / focus.radius


def _blur(image: np.ndarray, pixels: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, (0, pixels, pixels))


def _edge(depth: np.ndarray, width: float) -> np.ndarray:
    """Depth below a surface (mm) to the fraction of a pixel that lies below it."""
    return np.clip(0.5 + depth / (4 * width), 0, 1).astype(np.float32)


def labels(lesion: Lesion) -> np.ndarray:
    """Annotation of a `lesion`, uint8 as in `regions`.

    A pixel with half of it or more lesion has the label of the compartment that fills most of it.
    """
    parts = np.stack([lesion.core, lesion.oedema, lesion.enhancing])
    label = np.array([regions.CORE, regions.OEDEMA, regions.ENHANCING], np.uint8)[parts.argmax(0)]
    return np.where(parts.sum(0) > 0.5, label, 0).astype(np.uint8)
