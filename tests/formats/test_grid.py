"""formats.grid: where voxels lie, the order of slices, and back."""

import nibabel as nib
import numpy as np
import pytest

from fusioninn_jax.formats import files
from fusioninn_jax.formats.grid import PLANES, Grid, check_same, from_slices, plane, to_slices
from fusioninn_jax.runtime.errors import UserError
from tests.formats.volume_cases import ORIENTATIONS, oriented


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_slices_go_back_to_the_order_of_the_file(tmp_path, codes):
    file = nib.load(oriented(tmp_path, codes))
    voxels, affine = to_slices(file.get_fdata(), file.affine)
    np.testing.assert_array_equal(from_slices(voxels, file.affine), file.get_fdata())
    assert "".join(nib.aff2axcodes(affine)) == PLANES[plane(file.affine)]


def test_same_grid():
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    first = Grid((10, 10, 10), affine)
    near, far, turned = affine.copy(), affine.copy(), affine.copy()
    near[0, 3] += 0.05
    far[0, 3] += 0.2
    turned[0, 1] += 0.02  # nothing at the corner of the affine, 0.18 mm at the far end
    check_same(first, first._replace(affine=near), "a", "b")
    for other in (far, turned):
        with pytest.raises(UserError, match="^b: its affine puts the volume up to 0.* mm away from a"):
            check_same(first, first._replace(affine=other), "a", "b")
    with pytest.raises(UserError, match="^b: shape .* differs from .* of a"):
        check_same(first, first._replace(shape=(10, 10, 9)), "a", "b")


@pytest.mark.parametrize("codes", ["RAS", "LPI", "SRA", "AIL", "PSR"])
@pytest.mark.parametrize("thick, cut", [("S", "axial"), ("A", "coronal"), ("R", "sagittal")])
def test_a_volume_is_cut_into_the_slices_it_was_acquired_in(tmp_path, codes, thick, cut):
    world = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)  # along R, A and S
    spacing = np.where(np.array(list("RAS")) == thick, 4.0, 1.0)
    image = nib.Nifti1Image(world, np.diag([*spacing, 1.0]))
    order = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(codes))
    )
    path = tmp_path / f"{codes}.nii"
    image.as_reoriented(order).to_filename(path)
    series = files.read(path)
    seen = {"axial": world[::-1, ::-1].T, "coronal": world[::-1, ::-1, ::-1].transpose(1, 2, 0),
            "sagittal": world[:, ::-1, ::-1].transpose(0, 2, 1)}[cut]  # fmt: skip
    np.testing.assert_array_equal(series.stored, seen)
    assert plane(series.affine) == cut
    np.testing.assert_allclose(series.grid.spacing, [1, 1, 4])
    files.write(tmp_path / "again.nii", tmp_path / "again.nii", series)
    np.testing.assert_array_equal(nib.load(tmp_path / "again.nii").dataobj, nib.load(path).dataobj)
