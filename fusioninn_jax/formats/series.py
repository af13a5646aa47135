"""A series of a study: stored voxels, where they lie, and what it takes to write such a file again."""
from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fusioninn_jax.formats import image_io
from fusioninn_jax.runtime.errors import UserError

PIXELS = np.diag([-1.0, -1.0, 1.0, 1.0])  # affine of an image without geometry: one voxel is one millimetre


class Series(NamedTuple):
    """One series in the voxel order of axial slices: rows run to the back, columns to the patient's left.

    Attributes:
      stored: (Z, Y, X) as in the file: any integer or float type, native byte order.
      slope, intercept: (Z,) float64; value = stored · slope + intercept.
      affine: (4, 4), voxel indices (x, y, z) to millimetres in NIfTI's RAS+ world.
      origin: JSON-like; its `kind` names the format, the rest is what that format's writer needs.
      record: what `fuse` noted in the file where it wrote it, else None.
    """
    stored: np.ndarray
    slope: np.ndarray
    intercept: np.ndarray
    affine: np.ndarray
    origin: dict[str, Any]
    record: dict[str, Any] | None = None

    @property
    def values(self) -> np.ndarray:
        """(Z, Y, X) float32, in the units of the file."""
        return (self.stored * self.slope[:, None, None] + self.intercept[:, None, None]).astype(np.float32)

    def with_values(self, values: np.ndarray) -> Series:
        """The series with other values, rounded and clipped to what its type can hold."""
        scaled = (np.asarray(values, np.float64) - self.intercept[:, None, None]) / self.slope[:, None, None]
        return self._replace(stored=to_type(scaled, self.stored.dtype), record=None)


def to_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values as `dtype`; integers rounded to even and clipped to their range."""
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    # the largest int64 is not a float64: rounded up it would overflow
    top = np.nextafter(float(limits.max), 0) if float(limits.max) > limits.max else float(limits.max)
    return np.clip(np.rint(values), float(limits.min), top).astype(dtype)


def uniform(stored: np.ndarray, affine: np.ndarray, origin: dict[str, Any], slope: float = 1,
            intercept: float = 0) -> Series:
    """A Series whose slices share slope and intercept."""
    count = len(stored)
    return Series(np.asarray(stored, stored.dtype.newbyteorder("=")), np.full(count, float(slope)),
                  np.full(count, float(intercept)), affine, origin)


def check_same_grid(first: Series, second: Series, first_name: str, second_name: str) -> None:
    """Raises `UserError` unless both have one grid (corners within 0.1 voxel)."""
    one, other = (image_io.Volume(series.stored.transpose(2, 1, 0), series.affine, series.affine)
                  for series in (first, second))
    try:
        image_io.check_same_grid(one, other, first_name, second_name)
    except UserError as error:
        raise UserError(f"{error} (`--resample` does the latter)") from error
