"""formats.volume_io: geometry, intensities and every kind of bad file."""

import gzip

import nibabel as nib
import numpy as np
import pytest

from fusioninn_jax.formats import volume_io
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances
from tests.formats.volume_cases import ORIENTATIONS, oriented, world_code


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_becomes_lps_voxel_for_voxel(tmp_path, codes):
    path = oriented(tmp_path, codes)
    assert "".join(nib.aff2axcodes(nib.load(path).affine)) == codes
    volume = volume_io.read_nifti(path)
    assert volume.voxels.shape == (7, 9, 5)
    assert volume.grid.spacing == pytest.approx((1.0, 2.0, 3.0))
    np.testing.assert_allclose(volume.voxels, world_code(volume.affine, (7, 9, 5)), atol=tolerances.PLACE_MM)
    image = volume_io.slices_first(volume)[0] + 60000  # world: x grows to the right, y to the front
    assert image.shape == (9, 7)
    assert image[0, 0] > image[0, -1], "column 0 must be the patient's right"
    assert image[0, 0] > image[-1, 0], "row 0 must be anterior"
    assert (np.diff(volume_io.slices_first(volume)[:, 0, 0]) > 0).all(), "slices must run upwards"


def test_slope_and_intercept_are_applied(tmp_path):
    stored = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    image = nib.Nifti1Image(stored, np.diag([-1, -1, 1, 1]))
    image.header.set_slope_inter(0.25, -2)
    nib.save(image, tmp_path / "v.nii")
    np.testing.assert_array_equal(volume_io.read_nifti(tmp_path / "v.nii").voxels, stored * 0.25 - 2)


def test_gzip_is_told_from_the_content_and_axes_of_length_one_are_dropped(tmp_path):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4, 1)
    nib.save(nib.Nifti1Image(voxels, np.diag([-1, -1, 1, 1])), tmp_path / "v.nii.gz")
    (tmp_path / "v.nii.gz").rename(tmp_path / "v.nii")
    np.testing.assert_array_equal(volume_io.read_nifti(tmp_path / "v.nii").voxels, voxels[..., 0])


def _broken(kind, path):
    whole = path.read_bytes()
    raw = bytearray(gzip.decompress(whole))
    if kind == "truncated gzip":
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "wrong checksum":
        path.write_bytes(whole[:-8] + bytes(4) + whole[-4:])
    elif kind == "truncated voxels":
        path.write_bytes(gzip.compress(bytes(raw[:-100])))
    elif kind == "not NIfTI":
        path.write_bytes(b"<html>Please log in</html>" * 40)
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "bad header":
        raw[70:72] = b"\xff\x7f"  # data type code
        path.write_bytes(gzip.compress(bytes(raw)))
    elif kind == "missing":
        path.unlink()


@pytest.mark.parametrize(
    "kind, message",
    [
        ("truncated gzip", "truncated or corrupt"),
        ("wrong checksum", "truncated or corrupt"),
        ("truncated voxels", "truncated"),
        ("not NIfTI", "not a readable NIfTI"),
        ("empty", "not a readable NIfTI"),
        ("bad header", "not a readable NIfTI"),
        ("missing", "no such file"),
    ],
)
def test_a_broken_volume_is_one_line(tmp_path, kind, message):
    path = oriented(tmp_path, "LPS")
    _broken(kind, path)
    with pytest.raises(UserError, match=message) as caught:
        volume_io.read_nifti(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value) and ";" in str(caught.value)


@pytest.mark.parametrize(
    "voxels, affine, message",
    [
        (np.full((3, 3, 3), np.nan, np.float32), np.eye(4), "27 NaN or infinite"),
        (np.full((3, 3, 3), np.inf, np.float32), np.eye(4), "27 NaN or infinite"),
        (np.zeros((3, 3, 3, 2), np.int16), np.eye(4), "4-D file"),
        (np.zeros((3, 3), np.int16), np.eye(4), None),
        (np.zeros((3, 3, 3), np.complex64), np.eye(4), "voxels of type complex64"),
        (np.zeros((3, 3, 3), np.int16), np.diag([1, 1, 0, 1]), "affine cannot be inverted"),
    ],
)
def test_unusable_voxels_and_headers(tmp_path, voxels, affine, message):
    image = nib.Nifti1Image(voxels, None)
    image.header.set_sform(affine, code=1)
    nib.save(image, tmp_path / "v.nii.gz")
    if message is None:  # one slice is a volume of one slice
        assert volume_io.read_nifti(tmp_path / "v.nii.gz").voxels.shape == (3, 3, 1)
        return
    with pytest.raises(UserError, match=message):
        volume_io.read_nifti(tmp_path / "v.nii.gz")


def test_real_volume(realdata):
    path = next(iter(sorted(realdata.rglob("*_t1ce.nii.gz"))))
    volume = volume_io.read_nifti(path)
    stored = np.asarray(nib.load(path).dataobj)  # BraTS is stored in LPS order already
    np.testing.assert_array_equal(volume.voxels, stored)
    assert volume.voxels.shape == (240, 240, 155) and volume.grid.spacing.tolist() == [1.0, 1.0, 1.0]
