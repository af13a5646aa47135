"""Where the slices of a DICOM series lie: their order and one even grid. What has to be guessed is said on stderr."""

from __future__ import annotations

import pathlib
import sys
from typing import NamedTuple

import numpy as np

from fusioninn_jax.formats.grid import PIXELS, RAS_FROM_LPS
from fusioninn_jax.runtime.errors import UserError

# Of the spacing: how far a slice may lie from the even grid fitted to all. Scanners round positions.
GRID_TOLERANCE = 0.1
ONE_PLACE = 0.01  # of the median distance: slices closer than that lie at one place
DIRECTION_TOLERANCE = 1e-4
DECIMALS = 9  # of a millimetre; least squares leave dust below
PERPENDICULAR_TOLERANCE = 1e-3


class Plane(NamedTuple):
    """Geometry of one slice, in DICOM's LPS millimetres; None for what its header lacks.

    Attributes:
      name: the file, for messages.
      number: (instance number, number of the frame in its file).
      place: (3,), the centre of the first pixel.
      direction: (6,), unit vectors along a row and down a column.
      spacing: (2,), between rows and between columns.
      thickness: of the slice, where there is but one.
      is_projected: whether `spacing` is that on the detector, not in the patient.
    """

    name: pathlib.Path
    number: tuple[int | None, int]
    place: np.ndarray | None
    direction: np.ndarray | None
    spacing: np.ndarray | None
    thickness: float | None
    is_projected: bool


def grid(path: pathlib.Path, planes: list[Plane]) -> tuple[np.ndarray, np.ndarray]:
    """The order of the slices, and the affine of (x, y, z) voxel indices to RAS+ millimetres.

    A gantry's tilt shows in the affine: its third column need not be perpendicular to the slices.

    Args:
      path: of the series, for messages.
      planes: of its slices, in any order.

    Raises:
      UserError: slices whose order cannot be known, that differ in direction or pixel spacing, two at one place,
        missing ones, uneven spacing.
    """
    spacing = _spacing(path, planes)
    if all(plane.place is None or plane.direction is None for plane in planes):
        return _by_number(path, planes), PIXELS @ np.diag([spacing[1], spacing[0], planes[0].thickness or 1, 1])
    right, down = _direction(path, planes)
    places = _places(path, planes)
    normal = np.cross(right, down)
    order = np.argsort(places @ normal, kind="stable")
    step = normal * (planes[0].thickness or 1)
    first = places[order[0]]
    if len(planes) > 1:
        first, step = _fit(path, places[order], normal)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = right * spacing[1], down * spacing[0], step, first
    return order, RAS_FROM_LPS @ affine


def _say(path: pathlib.Path, text: str) -> None:
    print(f"{path}: {text}", file=sys.stderr)


def _spacing(path: pathlib.Path, planes: list[Plane]) -> np.ndarray:
    known = [plane for plane in planes if plane.spacing is not None]
    if not known:
        _say(path, "its pixel spacing is unknown; 1 mm is taken")
        return np.ones(2)
    if len(known) < len(planes):
        lacks = next(plane.name for plane in planes if plane.spacing is None)
        raise UserError(f"{path}: {lacks.name} lacks the pixel spacing that others have; give the folder of one series")
    spacings = np.array([plane.spacing for plane in planes])
    if np.ptp(spacings, 0).max() > DIRECTION_TOLERANCE:
        raise UserError(f"{path}: its slices differ in direction or pixel spacing; give the folder of one series")
    if spacings.min() <= 0:
        raise UserError(f"{path}: a pixel spacing of {spacings.min():.6g} mm; export the series anew")
    if any(plane.is_projected for plane in planes):
        _say(path, "has no PixelSpacing; that of the detector (ImagerPixelSpacing) is taken")
    return spacings[0]


def _direction(path: pathlib.Path, planes: list[Plane]) -> tuple[np.ndarray, np.ndarray]:
    known = np.array([plane.direction for plane in planes if plane.direction is not None])
    lacking = sorted({plane.name.name for plane in planes if plane.direction is None})
    if lacking:
        _say(path, f"{', '.join(lacking)} has no ImageOrientationPatient; that of the others is taken")
    if np.ptp(known, 0).max() > DIRECTION_TOLERANCE:
        raise UserError(f"{path}: its slices differ in direction or pixel spacing; give the folder of one series")
    right, down = known[0, :3], known[0, 3:]
    if np.abs([right @ right - 1, down @ down - 1, right @ down]).max() > PERPENDICULAR_TOLERANCE:
        raise UserError(f"{path}: its ImageOrientationPatient is not two perpendicular unit vectors; export it anew")
    return right, down


def _numbers(planes: list[Plane]) -> np.ndarray | None:
    """The slices' numbers, None where they do not tell an order."""
    found = [plane.number for plane in planes]
    if None in [instance for instance, _ in found] or len(set(found)) < len(found):
        return None if len({plane.name for plane in planes}) > 1 else np.array([frame for _, frame in found])
    if len({frame for _, frame in found}) == 1:
        return np.array([instance for instance, _ in found])
    return np.argsort(np.argsort([(instance or 0) * 1_000_000 + frame for instance, frame in found]))


def _by_number(path: pathlib.Path, planes: list[Plane]) -> np.ndarray:
    """The order of slices without positions."""
    if len(planes) == 1:
        return np.arange(1)
    numbers = _numbers(planes)
    if numbers is None:
        raise UserError(
            f"{path}: its slices have neither positions nor numbers of their own, so their order is "
            "unknown; export the series anew"
        )
    order = np.argsort(numbers)
    gaps = np.diff(numbers[order])
    if len(set(gaps.tolist())) > 1 or gaps[0] > 1:
        raise UserError(
            f"{path}: slices are missing: their numbers run {numbers.min()} to {numbers.max()} with gaps, "
            "and they have no positions; export the whole series anew"
        )
    _say(path, "its slices have no positions; they are ordered by their numbers, and where they lie is unknown")
    return order


def _places(path: pathlib.Path, planes: list[Plane]) -> np.ndarray:
    """Every slice's position; one that lacks it gets that which its number says, where the others' numbers agree."""
    known = np.array([plane.place is not None for plane in planes])
    if known.all():
        return np.array([plane.place for plane in planes])
    names = ", ".join(sorted({plane.name.name for plane in planes if plane.place is None}))
    numbers = _numbers(planes)
    if numbers is None or known.sum() < 2:
        raise UserError(f"{path}: {names} has no position, and its number does not tell one; export the series anew")
    terms = np.stack([np.ones(len(planes)), numbers - numbers.min()], 1)
    given = np.array([plane.place for plane in planes if plane.place is not None])
    fit = np.linalg.lstsq(terms[known], given, rcond=None)[0]
    places = terms @ fit
    if np.linalg.norm(places[known] - given, axis=1).max() > GRID_TOLERANCE * np.linalg.norm(fit[1]):
        raise UserError(f"{path}: {names} has no position, and its number does not tell one; export the series anew")
    places[known] = given
    _say(path, f"{names} has no position; placed by its number on the even grid of the others")
    return places


def _fit(path: pathlib.Path, places: np.ndarray, normal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first slice's place and the vector from slice to slice of the even grid that fits best (least squares)."""
    gaps = np.diff(places @ normal)
    if gaps.min() <= ONE_PLACE * np.median(gaps) or gaps.min() <= 0:
        raise UserError(f"{path}: two slices lie at one place; give the folder of one series (one echo, one time)")
    steps = np.round(gaps / gaps.min())
    index = np.concatenate([[0], np.cumsum(steps)])
    (first, step), *_ = np.linalg.lstsq(np.stack([np.ones(len(index)), index], 1), places, rcond=None)
    off = np.linalg.norm(places - first - index[:, None] * step, axis=1).max() / np.linalg.norm(step)
    is_even = off <= GRID_TOLERANCE and np.ptp(gaps / steps) <= 2 * GRID_TOLERANCE * np.linalg.norm(step)
    if is_even and steps.max() > 1:
        lost, after = int(steps.sum() - len(steps)), int(np.argmax(steps > 1)) + 1
        raise UserError(
            f"{path}: {lost} slices are missing, the first after slice {after} of {len(places)}; "
            "export the whole series anew"
        )
    if not is_even:
        raise UserError(
            f"{path}: slices lie {gaps.min():.3g} to {gaps.max():.3g} mm apart, up to {off:.2g} of the "
            f"spacing off an even straight grid ({GRID_TOLERANCE} is allowed); resample the series"
        )
    return np.round(first, DECIMALS), np.round(step, DECIMALS)
