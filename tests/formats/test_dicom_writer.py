"""formats.dicom_writer: what is ours is told from what is not, and what DICOM cannot hold."""

import pathlib

import pytest

from fusioninn_jax.formats import dicom_writer, files
from fusioninn_jax.runtime.errors import UserError
from tests.formats.dicom_cases import of_slice, series


def test_what_is_ours_is_told_from_what_is_not(tmp_path):
    got = files.read(series(tmp_path / "s"))
    out = tmp_path / "out"
    dicom_writer.write(out, out, got)
    assert files.is_own_folder(out) and not files.is_own_folder(tmp_path / "s")
    (out / "notes.txt").write_text("mine")
    assert not files.is_own_folder(out)
    (out / "notes.txt").unlink()
    (out / "sub").mkdir()
    assert not files.is_own_folder(out)
    (out / "sub").rmdir()
    (out / "0009.dcm").symlink_to(tmp_path / "s" / of_slice(tmp_path / "s", 0).name)
    assert not files.is_own_folder(out) and not files.is_own_folder(pathlib.Path("/nowhere"))


def test_what_dicom_cannot_hold_is_refused(tmp_path):
    got, out = files.read(series(tmp_path / "s")), tmp_path / "out"
    sheared = got.affine.copy()
    sheared[0, 1] += 0.1
    for other, message in (
        (got._replace(stored=got.stored.astype("f4")), "DICOM cannot hold float32; write .nii.gz"),
        (got._replace(affine=sheared), "its rows and columns are not perpendicular"),
    ):
        with pytest.raises(UserError, match=message):
            dicom_writer.write(out, out, other)
        assert not out.exists()
