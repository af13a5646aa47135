"""Planes of integers with margins, and which neighbours of a voxel predict it.

A plane (Z, H, W) stands in an array (Z + 3, H + 6, W + 6): two slices before it, one behind, three voxels around.
Neighbours are differences of flat indices in it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fusioninn_jax.studies.volume_codec.compiled import compiled

MARGIN = 3  # voxels around a slice
BEFORE, BEHIND = 2, 1  # slices
KNOWN_MOST = 3  # planes that a prediction looks at: the picture and the last two sources

# (slices, rows, columns) from the voxel; what is decoded before it, first the LEFT ones of its own row
OWN = (
    (0, 0, -1),
    (0, 0, -2),
    (0, 0, -3),
    (0, -1, 0),
    (0, -1, -1),
    (0, -1, 1),
    (0, -2, 0),
    (0, -1, -2),
    (0, -1, 2),
    (0, -2, -1),
    (0, -2, 1),
    (0, -3, 0),
    *((-1, row, column) for row in (-1, 0, 1) for column in (-1, 0, 1)),
    (-1, -2, 0),
    (-1, 2, 0),
    (-1, 0, -2),
    (-1, 0, 2),
    (-2, 0, 0),
    (-2, 0, 1),
    (-2, 1, 0),
    (-2, -1, 0),
    (-2, 0, -1),
)
# of planes that are known wholly; the first is the voxel itself
KNOWN = (
    (0, 0, 0),
    (0, -1, -1),
    (0, -1, 0),
    (0, -1, 1),
    (0, 0, -1),
    (0, 0, 1),
    (0, 1, -1),
    (0, 1, 0),
    (0, 1, 1),
    (-1, 0, 0),
    (-1, 0, 1),
    (-1, 1, 0),
    (-1, -1, 0),
    (-1, 0, -1),
    (1, 0, 0),
    (1, 0, 1),
    (1, 1, 0),
    (1, -1, 0),
    (1, 0, -1),
    (0, 0, 2),
    (0, 0, -2),
    (0, 2, 0),
    (0, -2, 0),
)
LEFT = 3
OWN_ADAPTED, KNOWN_ADAPTED = 18, (0, 2, 4, 5, 7, 9)  # those whose weights follow the voxels


class Neighbours(NamedTuple):
    """Flat differences, int64.

    Attributes:
      own, known: of the predictors; `known` holds those of every known plane, planes one behind another.
      reference: what is subtracted from each of `known` where weights adapt: the voxel, for itself the slice before.
      adapted: places in own + known whose weights adapt.
    """

    own: np.ndarray
    known: np.ndarray
    reference: np.ndarray
    adapted: np.ndarray


def padded(plane: np.ndarray, dtype: type = np.int32) -> np.ndarray:
    """A `plane` (Z, H, W) as `dtype`, with margins of 0."""
    return np.pad(plane.astype(dtype), ((BEFORE, BEHIND), (MARGIN, MARGIN), (MARGIN, MARGIN)))


def slab(margined: np.ndarray, first: int, last: int) -> np.ndarray:
    """The slices `first` ... `last` - 1 of a plane with margins, `margined`, with the margins' worth around them."""
    return margined[first : last + BEFORE + BEHIND]


def neighbours(shape: tuple[int, ...], planes: int) -> Neighbours:
    """The differences for slabs of a `shape`, margins included, and so many known `planes`."""
    size, step = int(np.prod(shape)), np.array([shape[1] * shape[2], shape[2], 1])
    own = np.array(OWN) @ step
    inside = np.array(KNOWN) @ step
    known = np.concatenate([inside + k * size for k in range(planes)] or [np.zeros(0, np.int64)])
    reference = [np.where(inside == 0, -step[0], 0) + k * size for k in range(planes)]
    adapted = [*range(OWN_ADAPTED), *(len(own) + k * len(KNOWN) + i for k in range(planes) for i in KNOWN_ADAPTED)]
    return Neighbours(
        own.astype(np.int64),
        known.astype(np.int64),
        np.concatenate(reference or [np.zeros(0)]).astype(np.int64),
        np.array(adapted, np.int64),
    )


@compiled()
def fill_voxel(own, standing, place, row, area):  # type: ignore[no-untyped-def]
    """Puts the mean of the values beside a background voxel in its place, for what is predicted from it.

    Args:
      own: flat levels, changed.
      standing: flat flags, changed: which of the levels stand.
      place: of the voxel.
      row, area: voxels of a row and of a slice.
    """
    total, count = 0, 0
    for neighbour in (place - 1, place - row, place - row + 1, place - area):
        if standing[neighbour]:
            total += own[neighbour]
            count += 1
    if count > 0:
        own[place] = total // count
        standing[place] = 1


@compiled()
def _fill(own, standing, depth, height, width):  # type: ignore[no-untyped-def]
    for z in range(BEFORE, depth - BEHIND):
        for y in range(MARGIN, height - MARGIN):
            for x in range(MARGIN, width - MARGIN):
                place = (z * height + y) * width + x
                if standing[place] == 0:
                    fill_voxel(own, standing, place, width, height * width)


def fill(own: np.ndarray, content: np.ndarray) -> None:
    """Fills the background (`content` 0) of a plane with margins, `own`, in place, as decoding does on its way."""
    _fill(own.reshape(-1), content.flatten(), *content.shape)
