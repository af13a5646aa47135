"""formats.files: which format a path means."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from fusioninn_jax.formats import files
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.runtime.errors import UserError
from tests.formats.volume_cases import noise, store
from tests.studies import cases


def test_upper_case_endings_mean_the_same(tmp_path):
    series = files.read(cases.save(tmp_path / "A.NII.GZ", cases.voxels(1)))
    files.write(tmp_path / "B.NII.GZ", tmp_path / "B.NII.GZ", series)
    assert (tmp_path / "B.NII.GZ").read_bytes()[:2] == b"\x1f\x8b"
    np.testing.assert_array_equal(nib.load(tmp_path / "B.NII.GZ").get_fdata(), cases.voxels(1))
    flat = uniform(noise("u2", 1).transpose(2, 0, 1), PIXELS, {"kind": "picture", "flat": True})
    for name in ("d.PNG", "e.TIF", "f.TIFF", "g.NPY", "h.Png"):
        files.write(tmp_path / name, tmp_path / name, flat)
        np.testing.assert_array_equal(files.read(tmp_path / name).stored, flat.stored)
    Image.fromarray(noise("u1", 1)[..., 0]).save(tmp_path / "i.JPG", format="jpeg", quality=100)
    assert files.read(tmp_path / "i.JPG").stored.shape == (1, 6, 5)


def test_a_fill_value_that_no_voxel_has_is_told(tmp_path, capsys):
    path = store(tmp_path / "a.nii", noise())
    files.read(path, fill_value=-7.5)
    assert capsys.readouterr().err == f"{path}: no voxel, or each, is -7.5; none is taken for missing\n"


@pytest.mark.parametrize(
    "name, nifti, dicom",
    [
        ("a.nii", True, False),
        ("a.NII.GZ", True, False),
        ("a.dcm", False, True),
        ("a.IMA", False, True),
        ("a.png", False, False),
        ("a", False, False),
    ],
)
def test_what_a_name_means(tmp_path, name, nifti, dicom):
    assert (files.is_nifti(tmp_path / name), files.is_dicom(tmp_path / name)) == (nifti, dicom)
    (tmp_path / name).mkdir()
    assert files.is_dicom(tmp_path / name) is not nifti  # a folder is that of a series


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz", "a.png", "a.tiff", "a.npy", "a"])
def test_names_that_can_be_written(tmp_path, name):
    files.check_output(tmp_path / name)


@pytest.mark.parametrize(
    "name, message",
    [
        ("a.jpg", "loses what the fused image hides; write .png or .tif"),
        ("a.bmp", "is read, not written"),
        ("a.mgz", "is read, not written; write .nii.gz"),
        ("a.dcm", "DICOM is written as a folder"),
        ("a.xyz", "of no known format; give .nii"),
    ],
)
def test_names_that_cannot_be_written(tmp_path, name, message):
    with pytest.raises(UserError, match=f"{name}: .*{message}"):
        files.check_output(tmp_path / name)


@pytest.mark.parametrize(
    "name, of_integers, of_floats",
    [
        ("f.nii.gz", files.SIGNED, files.FLOAT),
        ("f.png", files.GREY, files.GREY),
        ("f.tif", files.GREY, files.FLOAT),
        ("f.npy", files.FLOAT, files.FLOAT),
        ("folder", files.UNSIGNED, files.UNSIGNED),
    ],
)
def test_how_a_fused_image_is_stored(tmp_path, name, of_integers, of_floats):
    for dtype, expected in (("i2", of_integers), ("f4", of_floats)):
        first = uniform(noise(dtype).transpose(2, 0, 1), PIXELS, {"kind": "none"})
        assert files.storage(tmp_path / name, first) is expected
