"""Where voxels lie: the grid of a volume, and the one conversion between a file's voxel order and slices.

Voxels are brought to the order of slices as a radiologist looks at them, by flips and permutations alone, so none is
interpolated: columns first, then rows, then slices. Slices are axial (LPS: columns run to the patient's left, rows to
the back, slices to the head), unless others lie so much farther apart that the volume was acquired in those: then they
are coronal (LIP) or sagittal (PIR), rows running to the feet. An affine takes voxel indices (x, y, z) to millimetres in
NIfTI's RAS+ world (x to the right, y to the front, z to the head); DICOM and SimpleITK count in LPS millimetres,
`RAS_FROM_LPS` away.
"""

from __future__ import annotations

from typing import NamedTuple

import nibabel as nib
import numpy as np

from fusioninn_jax.runtime.errors import UserError

TOLERANCE = 0.1  # voxel; how far apart the corners of two grids said to be the same may lie
RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # and back: it is its own inverse
PIXELS = RAS_FROM_LPS  # affine of an image without geometry: one voxel is one millimetre
PLANES = {"axial": "LPS", "coronal": "LIP", "sagittal": "PIR"}  # towards which columns, rows and slices run
THICKER = 1.5  # how much farther apart than pixels in either direction the slices lie that a volume was acquired in


class Grid(NamedTuple):
    """The places of a volume's voxels.

    Attributes:
      shape: voxels along x, y and z.
      affine: (4, 4), voxel indices to RAS+ millimetres.
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """(3,) millimetres from voxel to voxel along x, y and z."""
        return np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))

    @property
    def lps(self) -> np.ndarray:
        """(4, 4), voxel indices to the LPS millimetres of DICOM and SimpleITK."""
        return RAS_FROM_LPS @ self.affine


def check_same(first: Grid, second: Grid, first_name: str, second_name: str) -> None:
    """Raises UserError unless two grids have one shape and corners within 0.1 voxel of one another.

    Args:
      first: the grid that the other is held against.
      second: the other.
      first_name: of the file, for the message; likewise `second_name`.
      second_name: see there.
    """
    if first.shape != second.shape:
        raise UserError(
            f"{second_name}: shape {second.shape} differs from {first.shape} of "
            f"{first_name}; co-register the images and resample them to one grid"
        )
    corners = np.array([(*index, 1.0) for index in np.ndindex(2, 2, 2)])
    corners[:, :3] *= np.array(first.shape) - 1
    apart = np.linalg.norm(corners @ (first.affine - second.affine).T, axis=1).max()
    if apart > TOLERANCE * first.spacing.min():
        raise UserError(
            f"{second_name}: its affine puts the volume up to {apart:.3g} mm away from {first_name}; "
            "co-register the images and resample them to one grid"
        )


def plane(affine: np.ndarray) -> str:
    """The plane in which a volume is cut into slices, one of PLANES.

    Args:
      affine: (4, 4), voxel indices in any order to RAS+ millimetres.
    """
    apart = np.empty(3)  # mm between the slices across x (sagittal), y (coronal), z (axial)
    apart[nib.io_orientation(affine)[:, 0].astype(int)] = np.linalg.norm(affine[:3, :3], axis=0)
    second, most = np.sort(apart)[1:]
    return ("sagittal", "coronal", "axial")[apart.argmax()] if most > THICKER * second else "axial"


def to_slices(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels in a file's order -> in the order of slices, and the affine that goes with them.

    Args:
      voxels: (X, Y, Z), channels after them if there are any.
      affine: of the file.

    Returns:
      the voxels, perhaps a view, and their affine.
    """
    order = _order(affine)
    turned = nib.orientations.apply_orientation(voxels, order)
    return turned, affine @ nib.orientations.inv_ornt_aff(order, voxels.shape[:3])


def from_slices(voxels: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Voxels in the order of slices, (columns, rows, slices) and channels, in that of the file that has this affine.

    Args:
      voxels: as `to_slices` gives them.
      affine: of the file.
    """
    order = nib.orientations.ornt_transform(_wanted(affine), nib.io_orientation(affine))
    return nib.orientations.apply_orientation(voxels, order)


def slice_step(affine: np.ndarray) -> int | None:
    """How a file's slices follow in our order: 1, or -1 where they run backwards; None where ours lie in another plane.

    Args:
      affine: of a volume whose slices are stored along its third axis.
    """
    axis, flip = _order(affine)[2]
    return int(flip) if axis == 2 else None


def _order(affine: np.ndarray) -> np.ndarray:
    return nib.orientations.ornt_transform(nib.io_orientation(affine), _wanted(affine))


def _wanted(affine: np.ndarray) -> np.ndarray:
    return nib.orientations.axcodes2ornt(PLANES[plane(affine)])
