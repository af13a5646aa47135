"""studies.regridding: one series on another's grid, in its own type and scale."""

import numpy as np
import pytest

from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import regridding
from tests.studies import cases

pytest.importorskip("SimpleITK")
ORIGIN = {"kind": "picture", "flat": False}


def moving():
    return uniform(cases.voxels(1).transpose(2, 1, 0), PIXELS, ORIGIN, 0.5, -3)


def test_voxels_move_and_beyond_the_field_of_view_values_are_0():
    right = PIXELS.copy()
    right[0, 3] -= 1  # where the columns of `moving` begin with its second
    moved = regridding.resample(moving(), uniform(np.zeros((5, 7, 9), "u1"), right, ORIGIN))
    assert moved.stored.dtype == np.int16 and set(moved.slope) == {0.5} and set(moved.intercept) == {-3}
    np.testing.assert_array_equal(moved.stored[..., :-1], moving().stored[..., 1:])
    assert (moved.values[..., -1] == 0).all()
    np.testing.assert_array_equal(moved.affine, right)


def test_slices_of_different_slopes_are_refused():
    series = moving()._replace(slope=np.arange(1.0, 6))
    with pytest.raises(UserError, match="--resample: the slices of that series differ in rescale slope"):
        regridding.resample(series, moving())
