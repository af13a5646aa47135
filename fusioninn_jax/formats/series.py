"""A series of a study: stored voxels, where they lie, and what it takes to write such a file again."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fusioninn_jax.formats import image_io
from fusioninn_jax.formats.colour import Chroma
from fusioninn_jax.formats.grid import Grid, check_same
from fusioninn_jax.runtime.errors import UserError

# A value beyond these, with most others in so small a part of the range, is no reading; below 0 there are few.
HUGE, HUGE_BELOW, FLATTENED = 1e10, -1e8, 2.0**-16
MOST_FILLS = 8  # different ones; more are readings of many magnitudes
FILL_TOLERANCE = 1e-6  # relative; headers and float32 round the number


class Series(NamedTuple):
    """One series in the voxel order of axial slices: rows run to the back, columns to the patient's left.

    Attributes:
      stored: (Z, Y, X) as in the file: any integer or float type, native byte order.
      slope, intercept: (Z,) float64; value = stored · slope + intercept.
      affine: (4, 4), voxel indices (x, y, z) to millimetres in NIfTI's RAS+ world.
      origin: JSON-like; its `kind` names the format, the rest is what that format's writer needs.
      record: what `fuse` noted in the file where it wrote it, else None.
      chroma: of a coloured image, whose luma `stored` is; None of a grey one.
    """

    stored: np.ndarray
    slope: np.ndarray
    intercept: np.ndarray
    affine: np.ndarray
    origin: dict[str, Any]
    record: dict[str, Any] | None = None
    chroma: Chroma | None = None

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return Grid(self.stored.shape[::-1], self.affine)

    def slice_values(self, number: int) -> np.ndarray:
        """(Y, X) float64 values of the slice `number`, from 0, in the units of the file."""
        with np.errstate(over="ignore", invalid="ignore"):
            return self.stored[number].astype(np.float64) * self.slope[number] + self.intercept[number]

    @property
    def values(self) -> np.ndarray:
        """(Z, Y, X) float32, in the units of the file."""
        values = np.empty(self.stored.shape, np.float32)
        for number in range(len(values)):
            values[number] = self.slice_values(number)
        return values

    def with_values(self, values: np.ndarray) -> Series:
        """The series with other `values`, (Z, Y, X), rounded and clipped to what its type can hold."""
        scaled = (np.asarray(values, np.float64) - self.intercept[:, None, None]) / self.slope[:, None, None]
        return self._replace(stored=to_type(scaled, self.stored.dtype), record=None)


def to_type(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Values as `dtype`; integers rounded to even and clipped to their range.

    Args:
      values: of any shape, finite.
      dtype: an integer or float type.
    """
    if dtype.kind == "f":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    # the largest int64 is not a float64: rounded up it would overflow
    top = np.nextafter(float(limits.max), 0) if float(limits.max) > limits.max else float(limits.max)
    return np.clip(np.rint(values), float(limits.min), top).astype(dtype)


def uniform(
    stored: np.ndarray, affine: np.ndarray, origin: dict[str, Any], slope: float = 1, intercept: float = 0
) -> Series:
    """A Series whose slices share slope and intercept.

    Args:
      stored: (Z, Y, X).
      affine: (4, 4), see `Series`.
      origin: see `Series`.
      slope: value = stored · slope + intercept; likewise `intercept`.
      intercept: see there.
    """
    count = len(stored)
    return Series(
        np.asarray(stored, stored.dtype.newbyteorder("=")),
        np.full(count, float(slope)),
        np.full(count, float(intercept)),
        affine,
        origin,
    )


def check_same_grid(first: Series, second: Series, first_name: str, second_name: str) -> None:
    """Raises `UserError` unless both have one grid (corners within 0.1 voxel).

    Args:
      first: the series that the other is held against.
      second: the other.
      first_name: of the file, for the message.
      second_name: likewise.
    """
    try:
        check_same(first.grid, second.grid, first_name, second_name)
    except UserError as error:
        raise UserError(f"{error} (`--resample` does the latter)") from error


def with_background(series: Series, fill: float) -> Series:
    """The series with every voxel of the value `fill` set to the smallest of the others.

    Args:
      series: it may hold values that are not finite.
      fill: in the units of the file, as given on a command line; NaN or infinite: all values that are not finite.
    """
    values = np.stack([series.slice_values(number) for number in range(len(series.stored))])
    with np.errstate(invalid="ignore"):
        missing = ~np.isfinite(values) if not np.isfinite(fill) else np.abs(values - fill) <= FILL_TOLERANCE * abs(fill)
    if missing.all() or not missing.any():
        return series
    lowest = np.where(missing, np.inf, values).min()
    scaled = np.where(missing, lowest, 0.0) - series.intercept[:, None, None]
    background = to_type(scaled / series.slope[:, None, None], series.stored.dtype)
    return series._replace(stored=np.where(missing, background, series.stored))


def check_values(series: Series, name: str) -> None:
    """Raises UserError at the first slice whose scaled values cannot be computed with; it names slice and value.

    Args:
      series: to be checked.
      name: of the file, for the message.
    """
    largest = []
    for number in range(len(series.stored)):
        values = series.slice_values(number)
        with np.errstate(invalid="ignore"):
            sizes = np.abs(values)
            bad = ~(sizes <= image_io.LARGEST)
        if bad.any():
            found = values[bad].tolist()
            is_fill = np.isnan(found).all() or len(set(found)) == 1  # one value, so it may mark what is missing
            hint = f", or where they mark missing values: --fill-value={found[0]!r}" if is_fill else ""
            raise UserError(
                f"{name}: slice {number + 1} holds {len(found)} values that cannot be computed with, the "
                f"first {found[0]!r}; mend them{hint}"
            )
        largest.append(float(sizes.max()))
    if max(largest) < -HUGE_BELOW:
        return
    each = [series.slice_values(number) for number in range(len(series.stored))]
    # a slice by itself, then the volume: slices of a fill value alone flatten the others
    for number, values in [*enumerate(each), (int(np.argmax(largest)), np.stack(each))]:
        extreme = flattening(values)
        if extreme is not None:
            raise UserError(
                f"{name}: slice {number + 1} holds {extreme!r}, beside which all else is flat; mend "
                f"it, or where it marks missing values: --fill-value={extreme!r}"
            )


def flattening(values: np.ndarray) -> float | None:
    """The value beside which at least half of the distinct others, and all but a few, are one; None: there is none.

    Args:
      values: of any shape, finite.
    """
    if values.max() < HUGE and values.min() > HUGE_BELOW:
        return None
    distinct = np.unique(values)
    extreme = float(distinct[np.abs(distinct).argmax()])
    off = np.abs(distinct - distinct[(len(distinct) - 1) // 2])
    others = distinct != extreme
    flat = (off < FLATTENED * off.max()) & others
    few = (others & ~flat).sum() < MOST_FILLS and 2 * flat.sum() >= others.sum()
    ordinary = flat.any() and np.abs(distinct[flat]).max() < HUGE
    return extreme if few and ordinary and not HUGE_BELOW < extreme < HUGE else None
