"""formats.read_only_volumes: FreeSurfer's volumes, and pairs of header and image."""

import gzip
import os

import nibabel as nib
import numpy as np
import pytest

from fusioninn_jax.formats import files
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances
from tests.studies import cases

CORONAL = np.array([[-1.1, 0, 0, 20], [0, 0, 1.5, -30], [0, -0.9, 0, 11], [0, 0, 0, 1]])  # as FreeSurfer stores


def volume(seed=0, dtype="i2"):
    return cases.voxels(seed, (12, 10, 9), dtype)


def save_mgh(path, data, affine):
    nib.save(nib.freesurfer.MGHImage(data, affine), path)


def save_pair(path, data, affine):
    nib.save(nib.Nifti1Pair(data, affine), path.with_suffix(".img"))


@pytest.mark.parametrize(
    "name, save", [("a.mgz", save_mgh), ("a.mgh", save_mgh), ("a.hdr", save_pair), ("a.img", save_pair)]
)
@pytest.mark.parametrize("dtype", ["i2", "f4"])
def test_read_as_the_same_volume_in_nifti(tmp_path, name, save, dtype):
    data = volume(dtype=dtype)
    save(tmp_path / name, data, CORONAL)
    nib.save(nib.Nifti1Image(data, CORONAL), tmp_path / "same.nii")
    read, same = files.read(tmp_path / name), files.read(tmp_path / "same.nii")
    np.testing.assert_array_equal(read.values, same.values)
    np.testing.assert_allclose(read.affine, same.affine, atol=tolerances.PLACE_MM)
    assert read.stored.dtype == same.stored.dtype == np.dtype(dtype)


def test_the_scale_and_compression_of_a_pair(tmp_path):
    pair = nib.Nifti1Pair(volume(), CORONAL)
    pair.header.set_slope_inter(0.5, -3)
    nib.save(pair, tmp_path / "a.img")
    plain = files.read(tmp_path / "a.hdr").values
    for ending in (".hdr", ".img"):
        (tmp_path / f"b{ending}.gz").write_bytes(gzip.compress((tmp_path / f"a{ending}").read_bytes()))
    for name in ("b.hdr.gz", "b.img.gz"):
        np.testing.assert_array_equal(files.read(tmp_path / name).values, plain)
    np.testing.assert_array_equal(plain, files.read(tmp_path / "a.img").values)
    assert np.ptp(plain) > 100


def test_analyze_is_read_as_nibabel_does_and_that_is_told(tmp_path, capsys):
    image = nib.Spm2AnalyzeImage(volume(), np.diag([-2.0, 2, 3, 1]))
    nib.save(image, tmp_path / "a.img")
    if (tmp_path / "a.mat").exists():
        os.remove(tmp_path / "a.mat")
    read, expected = files.read(tmp_path / "a.hdr"), nib.load(tmp_path / "a.img")
    assert "left and right" in capsys.readouterr().err
    nib.save(nib.Nifti1Image(np.asarray(expected.dataobj, np.float32), expected.affine), tmp_path / "b.nii")
    np.testing.assert_array_equal(read.values, files.read(tmp_path / "b.nii").values)


def test_bad_ones_are_told(tmp_path):
    save_pair(tmp_path / "a.hdr", volume(), CORONAL)
    save_mgh(tmp_path / "b.mgh", volume(), CORONAL)
    for name, damage, message in (
        ("a.img", lambda content: content[:100], "truncated"),
        ("b.mgh", lambda content: content[:400], "not a readable .mgh"),
        ("b.mgh", lambda content: b"hello", "not a readable .mgh"),
        ("a.hdr", lambda content: b"hello", "not a readable .hdr"),
    ):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(damage(whole))
        with pytest.raises(UserError, match=message) as caught:
            files.read(tmp_path / name)
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)
        (tmp_path / name).write_bytes(whole)
    os.remove(tmp_path / "a.img")
    with pytest.raises(UserError, match="a.img is missing"):
        files.read(tmp_path / "a.hdr")
    with pytest.raises(UserError, match="is read, not written"):
        files.check_output(tmp_path / "x.mgz")


def test_a_pair_with_header_extensions_is_read_without_them(tmp_path):
    save_pair(tmp_path / "a.img", volume(), CORONAL)
    expected = files.read(tmp_path / "a.hdr")
    head = (tmp_path / "a.hdr").read_bytes()[:348]
    text = b"FAMILY^GIVEN".ljust(1992)
    (tmp_path / "a.hdr").write_bytes(head + b"\1\0\0\0" + np.array([2000, 6], "<i4").tobytes() + text)
    series = files.read(tmp_path / "a.img")
    np.testing.assert_array_equal(series.stored, expected.stored)
    assert series.origin == expected.origin


@pytest.mark.parametrize(
    "columns",
    [
        [[1e20, 1e20, 0], [0, 1, 0], [0, 0, 1]],  # two axes that are the same but for rounding
        [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
    ],
)
def test_an_affine_without_directions_is_one_line(tmp_path, columns):
    save_pair(tmp_path / "a.img", volume(), CORONAL)
    raw = bytearray((tmp_path / "a.hdr").read_bytes())
    raw[280:328] = np.hstack([columns, np.zeros((3, 1))]).astype("<f4").tobytes()
    raw[254:256] = np.array(1, "<i2").tobytes()  # sform_code: these rows count
    (tmp_path / "a.hdr").write_bytes(raw)
    with pytest.raises(UserError, match="affine cannot be inverted"):
        files.read(tmp_path / "a.hdr")
