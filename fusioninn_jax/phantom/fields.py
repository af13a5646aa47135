"""Smooth random fields on a slice grid, from cubic B-splines with random coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

EXTENT_MM = (189.0, 240.0, 240.0)  # of a subject's volume: z (up), y (towards the back), x (towards the left)
_UNIT = (151 / 315) ** -1.5  # 151/315 = mean of the summed squares of the four cubic weights, once per axis


class Grid(NamedTuple):
    """Where the pixels of some axial slices lie, in mm; pixel centres, one 1-D array per axis."""

    z: np.ndarray
    y: np.ndarray
    x: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.z), len(self.y), len(self.x)


def slice_grid(slices: Sequence[int] | np.ndarray, size: int, spacing: float) -> Grid:
    """Axial slices of `size` x `size` pixels about the centre of the volume.

    Args:
      slices: mm above the bottom of the volume.
      size: pixels.
      spacing: of the pixels, mm.
    """
    line = (120.0 + (np.arange(size) - (size - 1) / 2) * spacing - 0.5).astype(np.float32)
    return Grid(np.asarray(slices, np.float32), line, line)


def _basis(positions: np.ndarray, knot_mm: float, knots: int) -> sparse.csr_array:
    """Cubic B-spline weights, (positions, knots); a row holds four that sum to 1."""
    cell = np.floor(positions / knot_mm).astype(int)
    t = positions / knot_mm - cell
    weights = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], 1) / 6
    columns = np.clip(cell[:, None] + np.arange(4), 0, knots - 1)
    start = np.arange(0, weights.size + 1, 4)
    return sparse.csr_array((weights.astype(np.float32).ravel(), columns.ravel(), start), (len(positions), knots))


def coefficient_shape(knot_mm: float) -> tuple[int, int, int]:
    """How many knots, `knot_mm` apart, cover the volume (z, y, x)."""
    return tuple(int(np.ceil(extent / knot_mm)) + 4 for extent in EXTENT_MM)  # type: ignore[return-value]


def spline_field(coefficients: np.ndarray, grid: Grid, knot_mm: float) -> np.ndarray:
    """Evaluates a tensor-product cubic B-spline.

    Args:
      coefficients: (Kz, Ky, Kx), see `coefficient_shape`.
      grid: where to evaluate.
      knot_mm: distance between knots.

    Returns:
      (slices, rows, columns) float32.
    """
    # sparse products, axis by axis: faster than BLAS, whose threads also crawl on a busy machine
    field = coefficients
    for axis, positions in enumerate(grid):
        lines = np.moveaxis(field, axis, 0)
        rows = _basis(positions, knot_mm, len(lines)) @ lines.reshape(len(lines), -1)
        field = np.moveaxis(rows.reshape(-1, *lines.shape[1:]), 0, axis)
    return np.ascontiguousarray(field)


def random_field(rng: np.random.Generator, grid: Grid, knot_mm: float) -> np.ndarray:
    """A smooth Gaussian random field on a `grid`: mean 0, standard deviation about 1, detail of about `knot_mm`.

    `rng` draws its coefficients.
    """
    coefficients = rng.standard_normal(coefficient_shape(knot_mm), dtype=np.float32)
    return spline_field(coefficients, grid, knot_mm) * np.float32(_UNIT)
