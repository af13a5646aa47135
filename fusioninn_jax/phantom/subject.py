"""One simulated patient: anatomy, tumour and scanner drawn from a seed; T1-Gd and T2-FLAIR slices out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fusioninn_jax.phantom import anatomy, contrast
from fusioninn_jax.phantom import tumour as tumours
from fusioninn_jax.phantom.fields import Grid, random_field, slice_grid

MODALITIES = ("t1gd", "flair")


# relative standard deviation of the signal within a tissue, of each modality; order as in `contrast.TISSUES`
TEXTURE = ((0.025, 0.03, 0.03, 0.12, 0.06, 0.0, 0.0), (0.045, 0.045, 0.05, 0.16, 0.09, 0.12, 0.0))
VENTRICLES = anatomy.ATLAS_ZERO + np.array([16, 10, 0], np.float32)  # atlas position between the two lateral ones


class Subject(NamedTuple):
    """N axial slices of one simulated patient; row 0 is anterior, column 0 the patient's right."""

    name: str
    sources: np.ndarray  # (N, H, W, 2) float32 integers in scanner units, modalities as in `MODALITIES`; 0 = background
    mask: np.ndarray  # (N, H, W, 1) uint8, labels as in `tumour.LABELS`
    tissues: np.ndarray  # (N, H, W, 7) float32 fractions, order as in `contrast.TISSUES`
    slice_index: np.ndarray  # (N,) mm above the bottom of the volume
    spacing: float  # mm
    tumour: tumours.Tumour
    scanner: contrast.Scanner
    relaxation: np.ndarray  # (7, 3): T1 (ms), T2 (ms), proton density


def simulate_subject(
    seed: int, index: int, *, size: int = 240, spacing: float = 1.0, lesion_slices: int = 8, other_slices: int = 2
) -> Subject:
    """Simulates one patient with a brain tumour.

    Args:
      seed: of the dataset.
      index: of the patient; (seed, index) fixes everything.
      size: height and width of a slice in pixels.
      spacing: pixel size in mm.
      lesion_slices: slices spread over the height of the tumour core.
      other_slices: slices away from the tumour, where the brain leaves room for them.

    Raises:
      UserError: nilearn, which holds the anatomy, is not installed.
    """
    draw, grow, image = (np.random.default_rng(s) for s in np.random.SeedSequence((seed, index)).spawn(3))
    atlas = anatomy.load_atlas(spacing)
    warp = anatomy.random_warp(draw)
    tumour = tumours.random_tumour(draw, atlas, warp)
    scanner = contrast.random_scanner(draw)
    relaxation = contrast.random_relaxation(draw, scanner.field, necrosis=tumour.kind == "ring")
    heights = _choose_slices(draw, tumour, lesion_slices, other_slices)
    grid = slice_grid(heights, size, spacing)
    outline = anatomy.warp_grid(warp, grid)
    points = anatomy.push_aside(outline, VENTRICLES, 25.0, draw.uniform(-3, 6))  # their size differs between people
    for focus in tumour.foci:
        points = anatomy.push_aside(points, focus.atlas_centre, focus.radius, focus.push)
    tissue = anatomy.sample_tissue(atlas, points, outline, sulci=draw.uniform(0.58, 0.64))
    lesion = tumours.grow(grow, tumour, grid, points, tissue)
    tissues = _fractions(tissue, lesion, _vessels(grow, grid, points, tissue))
    sources = np.stack(_images(image, tissues, tumour, scanner, relaxation, grid, tissue.brain), -1)
    mask = tumours.labels(lesion)[..., None]
    return Subject(f"phantom_{index:03d}", sources, mask, tissues, heights, spacing, tumour, scanner, relaxation)


def _choose_slices(rng: np.random.Generator, tumour: tumours.Tumour, lesion: int, other: int) -> np.ndarray:
    """Heights (mm, sorted, distinct) through the tumour, and some beyond the reach of core and oedema."""
    focus = tumour.foci[0]
    heights = focus.centre[0] + np.linspace(-0.8, 0.8, lesion) * focus.radius
    chosen = set(np.rint(heights).astype(int).tolist())
    low = min(f.centre[0] - 1.5 * f.radius - f.reach for f in tumour.foci)
    high = max(f.centre[0] + 1.5 * f.radius + f.reach for f in tumour.foci)
    free = [z for z in range(45, 130) if (z < low or z > high) and z not in chosen]
    if len(free) < other:  # a large tumour leaves no slice untouched: take the ones farthest from it
        free = sorted(set(range(45, 130)) - chosen, key=lambda z: -abs(z - focus.centre[0]))[: 2 * other]
    return np.array(sorted([*chosen, *rng.choice(free, other, replace=False).tolist()]), np.int32)


def _vessels(rng: np.random.Generator, grid: Grid, points: np.ndarray, tissue: anatomy.Tissue) -> np.ndarray:
    """Fraction of blood that carries gadolinium: cortical veins in the sulci, sagittal sinus, choroid plexus."""
    up, back, side = points - anatomy.ATLAS_ZERO[:, None, None, None]
    side = np.abs(side)
    sheets = [np.clip(1.4 - np.abs(random_field(rng, grid, knot)) / 0.1, 0, 1) for knot in (14.0, 9.0)]
    # where such a sheet meets the thin space of a sulcus there is a line: a vein
    veins = 0.9 * np.maximum(*sheets) * tissue.fluid * (tissue.depth < 0.93)
    falx = 0.4 * np.clip(1.6 - side, 0, 1) * (up > 10) * tissue.fluid * (random_field(rng, grid, 12.0) > 0)
    sinus = np.clip(2.2 - side / 1.5, 0, 1) * (tissue.depth < 0.68) * ((up > 15) | (back > 60))
    plexus = ((back > 10) & (back < 45) & (up > -12) & (up < 26) & (side > 6) & (tissue.depth > 0.95)) * np.clip(
        2 * random_field(rng, grid, 4.0) - 1.4, 0, 1
    )
    vessels = np.maximum.reduce([veins, falx, 0.9 * sinus, 0.7 * plexus * tissue.fluid])
    return (vessels * tissue.brain).astype(np.float32)


def _fractions(tissue: anatomy.Tissue, lesion: tumours.Lesion, vessels: np.ndarray) -> np.ndarray:
    """Fractions of every tissue, summing to 1 in the brain and 0 outside; order as in `contrast.TISSUES`."""
    healthy = 1 - lesion.core - lesion.oedema - lesion.enhancing
    vessel = vessels * healthy
    rest = healthy - vessel
    return np.stack(
        [
            tissue.white * rest,
            tissue.grey * rest,
            tissue.fluid * rest,
            lesion.core,
            lesion.oedema,
            lesion.enhancing,
            vessel,
        ],
        -1,
    )


def _images(
    rng: np.random.Generator,
    tissues: np.ndarray,
    tumour: tumours.Tumour,
    scanner: contrast.Scanner,
    relaxation: np.ndarray,
    grid: Grid,
    brain: np.ndarray,
) -> list[np.ndarray]:
    """T1-Gd and FLAIR: each tissue's signal, textured, weighted by its fraction (partial volume is linear)."""
    t1, t2, density = relaxation.T
    fine, coarse = random_field(rng, grid, 2.5), random_field(rng, grid, 8.0)
    texture = np.stack([0.5 * fine + 0.8 * coarse, coarse], 0)
    uptake = tumour.gadolinium * np.clip(1 + 0.3 * coarse + 0.25 * fine, 0.2, 2.0)
    in_tumour = contrast.with_gadolinium(t1[5], uptake, scanner.field)
    in_blood = contrast.with_gadolinium(t1[6], 0.6, scanner.field)
    t1_gd = [
        *contrast.t1_signal(t1[:5], t2[:5], density[:5], scanner),
        contrast.t1_signal(in_tumour, t2[5], density[5], scanner),
        contrast.t1_signal(in_blood, t2[6], density[6], scanner),
    ]
    flair = list(contrast.flair_signal(t1, t2, density, scanner))
    flair[6] *= 0.3  # flowing blood leaves the slice between excitation and echo
    images = []
    for modality, signals in enumerate((t1_gd, flair)):
        total = sum(tissues[..., k] * signals[k] * (1 + TEXTURE[modality][k] * texture[modality]) for k in range(7))
        images.append(contrast.acquire(rng, total, brain, grid, scanner, modality, signals[0]))
    return images
