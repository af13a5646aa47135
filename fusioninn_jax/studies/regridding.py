"""One series on another's grid. The interpolation is SimpleITK's."""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from fusioninn_jax.formats import nifti
from fusioninn_jax.formats.grid import Grid
from fusioninn_jax.formats.series import Series, to_type
from fusioninn_jax.runtime.errors import UserError

if TYPE_CHECKING:
    import SimpleITK


def resample(moving: Series, fixed: Series) -> Series:
    """`moving` on the grid of `fixed`, linearly interpolated, in its own type and scale; 0 beyond its field of view.

    Raises:
      UserError: SimpleITK is not installed, or the slices of `moving` differ in slope or intercept.
    """
    try:
        import SimpleITK as sitk
    except ImportError as error:
        raise UserError("--resample needs SimpleITK; install it: pip install 'fusioninn_jax[resample]'") from error
    if np.ptp(moving.slope) or np.ptp(moving.intercept):
        raise UserError("--resample: the slices of that series differ in rescale slope; convert it to NIfTI first")
    values = moving.stored * moving.slope[0] + moving.intercept[0]
    moved = sitk.GetArrayFromImage(
        sitk.Resample(
            _image(sitk, values, moving.grid),
            _image(sitk, np.zeros(fixed.stored.shape), fixed.grid),
            sitk.Transform(),
            sitk.sitkLinear,
            0.0,
            sitk.sitkFloat64,
        )
    )
    slope, intercept = moving.slope[0], moving.intercept[0]
    origin = nifti.adopt(fixed.origin, moving.stored.dtype, slope, intercept)
    return Series(
        to_type((moved - intercept) / slope, moving.stored.dtype),
        np.full(len(moved), slope),
        np.full(len(moved), intercept),
        fixed.affine,
        origin,
    )


def _image(sitk: ModuleType, voxels: np.ndarray, grid: Grid) -> SimpleITK.Image:
    """(Z, Y, X) voxels as a SimpleITK image."""
    lps, spacing = grid.lps, grid.spacing
    image = sitk.GetImageFromArray(np.asarray(voxels, np.float64))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    return image
