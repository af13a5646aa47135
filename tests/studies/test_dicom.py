"""DICOM series in, derived series out: valid, linked, anonymous; and what is wrong with a series is said."""

import pathlib
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK

from fusioninn_jax.formats import dicom, files, grid
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances
from tests.studies import cases, dicom_series
from tests.studies.cases import run_decompose, run_fuse


def slices(seed):
    return cases.voxels(seed, (8, 6, 5), "u2").transpose(2, 1, 0)


@pytest.fixture
def study(tmp_path):
    """Two series of one study."""
    return [dicom_series.write(tmp_path / name, slices(i)) for i, name in enumerate(("t1", "flair"))]


def every_file(folder: pathlib.Path):
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def test_series_to_series_and_back(tmp_path, model_folder, study):
    run_fuse(model_folder, *study, "-o", tmp_path / "fused", "--latent", tmp_path / "z.nii.gz")
    run_decompose(
        model_folder, tmp_path / "fused", "--latent", tmp_path / "z.nii.gz", "-o", tmp_path / "b0", tmp_path / "b1"
    )
    for i in range(2):
        copy = files.read(tmp_path / f"b{i}")
        np.testing.assert_array_equal(copy.stored, slices(i))
        np.testing.assert_allclose(copy.affine, files.read(study[i]).affine, atol=tolerances.ROUNDING_F32)
    source, derived = every_file(study[0]), every_file(tmp_path / "fused")
    assert len({image.SOPInstanceUID for image in source + derived}) == 10
    assert derived[0].SeriesInstanceUID != source[0].SeriesInstanceUID
    assert {image.StudyInstanceUID for image in source + derived} == {"1.2.3"}
    assert derived[0].SOPClassUID == "1.2.840.10008.5.1.4.1.1.7" and derived[0].ImageType[0] == "DERIVED"
    by_place = {float(image.ImagePositionPatient[2]): image.SOPInstanceUID for image in source}
    for image in derived:  # each slice names the source slice that lies where it lies
        assert image.SourceImageSequence[0].ReferencedSOPInstanceUID == by_place[float(image.ImagePositionPatient[2])]


def test_nobody_is_named_unless_asked(tmp_path, model_folder, study, capsys):
    for name, more in (("quiet", []), ("named", ["--keep-phi"])):
        run_fuse(model_folder, *study, "-o", tmp_path / name, *more)
        run_fuse(model_folder, *study, "-o", tmp_path / f"{name}.nii", *more)
        contents = b"".join(path.read_bytes() for path in [*(tmp_path / name).iterdir(), tmp_path / f"{name}.nii"])
        for word in (b"DOE", b"JANE", b"ID12345", b"19500101"):
            assert (word in contents) == (name == "named"), word
    assert b"Jane's" not in contents
    run_decompose(model_folder, tmp_path / "quiet", "-o", tmp_path / "q1", tmp_path / "q2")
    assert b"DOE" not in b"".join(path.read_bytes() for path in (tmp_path / "q1").iterdir())
    said = "".join(capsys.readouterr())
    assert "DOE" not in said and "ID12345" not in said


def test_other_readers_agree(tmp_path, model_folder, study):
    run_fuse(model_folder, *study, "-o", tmp_path / "fused")
    run_fuse(model_folder, *study, "-o", tmp_path / "fused.nii")
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path / "fused")))
    image, nifti = reader.Execute(), SimpleITK.ReadImage(str(tmp_path / "fused.nii"))
    for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(image, get)(), getattr(nifti, get)(), atol=tolerances.PLACE_MM, err_msg=get)
    if shutil.which("dciodvfy"):
        for path in (tmp_path / "fused").iterdir():
            said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False).stderr
            assert "Error" not in said, said


def test_slices_of_different_slope_and_a_multiframe_file(tmp_path, model_folder):
    slopes = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    first = dicom_series.write(tmp_path / "pet", slices(0), slopes=slopes)
    second = dicom_series.write_multiframe(tmp_path / "enhanced.dcm", slices(1))
    series = files.read(first)
    np.testing.assert_array_equal(series.values, slices(0) * slopes[:, None, None])
    np.testing.assert_array_equal(files.read(second).values, slices(1) * 2.0 - 1)
    np.testing.assert_allclose(series.affine, files.read(second).affine, atol=tolerances.ROUNDING_F32)
    run_fuse(model_folder, first, second, "-o", tmp_path / "f.nii", "--latent", tmp_path / "z.nii")
    run_decompose(
        model_folder, tmp_path / "f.nii", "--latent", tmp_path / "z.nii", "-o", tmp_path / "b0", tmp_path / "b1.nii"
    )
    np.testing.assert_array_equal(files.read(tmp_path / "b0").stored, slices(0))
    assert nib.load(tmp_path / "b1.nii").dataobj.slope == 2
    with pytest.raises(UserError, match="differ in rescale slope"):
        run_decompose(model_folder, tmp_path / "f.nii", "-o", tmp_path / "c0.nii", tmp_path / "c1.nii")


@pytest.mark.parametrize("apart, plane", [(1, "axial"), (2, "sagittal")])
def test_a_sagittal_series_is_cut_as_it_was_acquired_where_that_is_thick(tmp_path, apart, plane):
    folder = dicom_series.write(tmp_path / "s", slices(0))
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        z = (image.ImagePositionPatient[2] - 30) / dicom_series.STEP
        image.ImageOrientationPatient, image.ImagePositionPatient = [0, 1, 0, 0, 0, -1], [z * apart, 0, 0]
        image.save_as(path)
    series = files.read(folder)
    expected = {"axial": slices(0).transpose(1, 2, 0)[::-1], "sagittal": slices(0)[::-1]}[plane]
    assert grid.plane(series.affine) == plane
    np.testing.assert_array_equal(series.stored, expected)  # rows ran to the feet, columns to the back


def test_slices_missing_at_an_end_are_noticed(tmp_path, capsys):
    assert len(dicom.read(dicom_series.write(tmp_path / "whole", slices(0))).stored) == 5
    assert capsys.readouterr().err == ""
    assert len(dicom.read(dicom_series.write(tmp_path / "short", slices(0), leave_out=(4,))).stored) == 4
    assert "4 images, its header counts 5" in capsys.readouterr().err


def test_bad_series_are_one_line(tmp_path):
    def changed(name, change):
        folder = dicom_series.write(tmp_path / name, slices(0))
        for number, path in enumerate(sorted(folder.iterdir())):
            image = pydicom.dcmread(path)
            change(image, number)
            image.save_as(path)
        return folder

    def double(image, number):
        image.ImagePositionPatient = [-10, -20, 30 + dicom_series.STEP * min(number, 3)]

    def uneven(image, number):
        image.ImagePositionPatient = [-10, -20, 30 + number * (1 + 0.05 * number)]

    gap = dicom_series.write(tmp_path / "gap", slices(0), leave_out=(1, 2))
    bad = {
        gap: "2 slices are missing, the first after slice 1",
        changed("two", lambda image, n: setattr(image, "SeriesInstanceUID", f"1.{n % 2}")): "holds 2 series",
        changed("double", double): "two slices lie at one place",
        changed("uneven", uneven): "slices lie .* mm apart",
        changed("rgb", lambda image, n: setattr(image, "PhotometricInterpretation", "RGB")): "RGB pixels",
        changed("torn", lambda image, n: setattr(image, "PixelData", b"\0\0")): "pixels cannot be decoded",
        tmp_path: "no DICOM image there",
    }
    for path, message in bad.items():
        with pytest.raises(UserError, match=message) as caught:
            dicom.read(path)
        assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value), message
        assert "DOE" not in str(caught.value)
