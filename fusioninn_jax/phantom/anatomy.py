"""The anatomy of one simulated subject: MNI152 tissue maps, deformed.

Frames. A subject's volume is 189 x 240 x 240 mm, axes (z, y, x) = (up, towards the back, towards the patient's
left), so an axial slice shown with row 0 on top is in the radiological convention. The atlas has the same axes.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from fusioninn_jax.phantom.fields import Grid, coefficient_shape, spline_field
from fusioninn_jax.runtime.errors import UserError

ATLAS_ORIGIN_MM = np.array([0.0, 3.5, 21.5], np.float32)  # centres the 189 x 233 x 197 atlas in the volume
ATLAS_ZERO = np.array([72.0, 98.0, 98.0], np.float32)  # voxel of the anterior commissure, MNI (0, 0, 0)
_LEVELS = ((48.0, 9.5), (16.0, 3.2))  # knot distance and largest coefficient, mm


class Atlas(NamedTuple):
    """MNI152 on its 1 mm grid (z, y, x), float32."""

    t1: np.ndarray  # T1-weighted template: white 0.87, grey 0.65, fluid 0.25
    white: np.ndarray  # white-matter probability
    brain: np.ndarray  # 1 in the brain, 0 outside
    depth: np.ndarray  # brain mask blurred over 6 mm, on a 2 mm grid: about 0.5 at the surface, 1 deep inside


class Warp(NamedTuple):
    """From a subject's frame to the atlas: p -> centre + matrix (p + u(p) - centre), u a sum of B-spline levels."""

    matrix: np.ndarray  # (3, 3)
    coefficients: tuple[np.ndarray, ...]  # one (3, Kz, Ky, Kx) per level


class Tissue(NamedTuple):
    """Fractions of some slices, each (slices, rows, columns) in [0, 1]; white + grey + fluid = 1 in the brain."""

    white: np.ndarray
    grey: np.ndarray
    fluid: np.ndarray
    brain: np.ndarray  # bool
    depth: np.ndarray


@functools.lru_cache(maxsize=2)
def load_atlas(spacing: float = 1.0) -> Atlas:
    """The MNI152 maps that ship inside nilearn (ICBM 2009a symmetric; Fonov et al. 2011); nothing is downloaded.

    Args:
      spacing: in-plane pixel size they will be sampled at, mm; above 1 they are averaged over that width first.

    Raises:
      UserError: nilearn is not installed.
    """
    try:
        from nilearn import datasets
    except ImportError as error:
        raise UserError('brain phantom: nilearn is missing; pip install "fusioninn_jax[phantom]"') from error
    t1, white = (
        np.ascontiguousarray(load(resolution=1).get_fdata(dtype=np.float32)[::-1, ::-1].transpose(2, 1, 0))
        for load in (datasets.load_mni152_template, datasets.load_mni152_wm_template)
    )
    brain = (t1 > 0).astype(np.float32)
    depth = ndimage.gaussian_filter(brain[::2, ::2, ::2], 3.0, truncate=3.0)
    inner = ndimage.gaussian_filter(brain, 1.0) > 0.99  # unsharp masking next to the empty outside would only add noise
    # the template is the average of many brains: sharpening narrows its gyri back towards those of one
    t1 = np.where(inner, 1.8 * t1 - 0.8 * ndimage.gaussian_filter(t1, 2.0, truncate=3.0), t1)
    width = max(1, round(spacing))
    t1, white = (ndimage.uniform_filter(a, width) if width > 1 else a for a in (t1, white))
    return Atlas(t1, white, brain, depth)


def random_warp(rng: np.random.Generator) -> Warp:
    """A random, invertible deformation: small rotation and scaling, then B-spline displacements of a few mm.

    A cubic B-spline displacement whose coefficients stay below 0.403 of the knot distance is one-to-one (Choi and Lee
    2000, "Injectivity conditions of 2D and 3D uniform cubic B-spline functions"); the levels share that bound.

    Args:
      rng: draws all of it.
    """
    angles = rng.uniform(-0.07, 0.07, 3)
    generator = np.array([[0, -angles[0], angles[1]], [angles[0], 0, -angles[2]], [-angles[1], angles[2], 0]])
    rotation = np.linalg.solve(np.eye(3) + generator / 2, np.eye(3) - generator / 2)  # Cayley transform
    scale = rng.uniform(0.95, 1.07, 3)
    levels = tuple(rng.uniform(-most, most, (3, *coefficient_shape(knot))).astype(np.float32) for knot, most in _LEVELS)
    return Warp((np.diag(scale) @ rotation).astype(np.float32), levels)


def warp_grid(warp: Warp, grid: Grid) -> np.ndarray:
    """Atlas positions (voxels = mm) of a `grid`'s pixels under a `warp`, (3, slices, rows, columns) float32."""
    points = np.stack(np.meshgrid(*grid, indexing="ij"))
    for (knot, _), coefficients in zip(_LEVELS, warp.coefficients, strict=True):
        points += np.stack([spline_field(c, grid, knot) for c in coefficients])
    centre = (ATLAS_ORIGIN_MM + ATLAS_ZERO)[:, None, None, None]
    return np.einsum("ij,jzyx->izyx", warp.matrix, points - centre) + ATLAS_ZERO[:, None, None, None]


def push_aside(points: np.ndarray, centre: np.ndarray, radius: float, push: float) -> np.ndarray:
    """Mass effect: tissue about `centre` is displaced outwards, most (by `push` mm) at `radius`.

    Args:
      points: (3, ...) atlas positions; the inverse map is applied, p -> p - d(|p - centre|) along the radius with
        d(r) = push (r / radius) exp((1 - (r / radius)^2) / 2), one-to-one while push < 0.6 radius.
      centre: (3,) atlas position.
      radius: mm.
      push: mm.
    """
    offset = points - centre.reshape(3, 1, 1, 1)
    ratio2 = np.sum(offset**2, 0) / radius**2
    return points - offset * (push / radius * np.exp((1 - ratio2) / 2))


def sample_tissue(atlas: Atlas, points: np.ndarray, outline: np.ndarray, sulci: float = 0.61) -> Tissue:
    """Tissue fractions at atlas positions, by trilinear interpolation.

    Args:
      atlas: see `load_atlas`.
      points: (3, slices, rows, columns) atlas positions of the tissue.
      outline: the same without mass effect: the skull, and with it the brain's outline, does not move.
      sulci: T1 intensity below which the template counts as fluid; higher is a more atrophic brain.
    """

    def at(image: np.ndarray, where: np.ndarray) -> np.ndarray:
        return ndimage.map_coordinates(image, where, order=1, output=np.float32)

    brain = at(atlas.brain, outline) > 0.5
    fluid = np.clip((sulci - at(atlas.t1, points)) / 0.22, 0, 1) * brain
    # the probability map blurs the boundary over several subjects: steepen it
    white = np.clip(1.5 * at(atlas.white, points) - 0.25, 0, 1) * brain * (1 - fluid)
    return Tissue(white, brain - white - fluid, fluid, brain, at(atlas.depth, outline / 2))
