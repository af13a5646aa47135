"""Where DICOM slices lie: positions and spacings missing, rounded, uneven or tilted; none is invented in silence."""

import nibabel as nib
import numpy as np
import pydicom
import pytest

from fusioninn_jax.formats import dicom_geometry, dicom_writer, files, nifti, nifti_headers
from tests import tolerances
from tests.formats.dicom_cases import VOXELS, along, move, refused, series


@pytest.mark.parametrize("lost", [(2,), (0,), (6,), (0, 3, 4)])
def test_slices_without_a_position_go_where_their_number_says(tmp_path, lost, capsys):
    whole = files.read(series(tmp_path / "whole"))
    capsys.readouterr()
    folder = series(tmp_path / "s", lambda image, z: z in lost and delattr(image, "ImagePositionPatient"))
    got = files.read(folder)
    np.testing.assert_array_equal(got.stored, VOXELS)
    np.testing.assert_allclose(got.affine, whole.affine, atol=tolerances.ROUNDING_F32)
    assert "has no position; placed by its number" in capsys.readouterr().err


def test_a_position_is_not_guessed_where_numbers_say_nothing(tmp_path):
    def same_number(image, z):
        image.InstanceNumber = 1
        if z == 2:
            del image.ImagePositionPatient

    def shuffled(image, z):
        image.InstanceNumber = [3, 1, 7, 2, 6, 5, 4][z]
        if z == 2:
            del image.ImagePositionPatient

    for name, change in (("same", same_number), ("shuffled", shuffled)):
        refused(series(tmp_path / name, change), "has no position, and its number does not tell one")


def test_without_any_position_the_numbers_tell_the_order_or_nothing_does(tmp_path, capsys):
    def numbered(image, z):
        image.InstanceNumber = z + 1
        del image.ImagePositionPatient

    def unnumbered(image, z):
        del image.InstanceNumber, image.ImagePositionPatient

    def gap(image, z):
        numbered(image, z)
        image.InstanceNumber = z + 1 + (z > 3)

    def twice(image, z):
        numbered(image, z)
        image.InstanceNumber = z // 2

    got = files.read(series(tmp_path / "numbered", numbered))
    np.testing.assert_array_equal(got.stored, VOXELS)
    np.testing.assert_allclose(got.grid.spacing, (0.9, 1.1, 2.5), atol=tolerances.ROUNDING_F32)
    assert "no positions; they are ordered by their numbers" in capsys.readouterr().err
    refused(series(tmp_path / "gap", gap), "slices are missing: their numbers run 1 to 8")
    for name, change in (("none", unnumbered), ("twice", twice)):
        refused(series(tmp_path / name, change), "neither positions nor numbers of their own")


def test_pixel_spacing_by_its_other_names(tmp_path, capsys):
    def rename(keyword):
        def change(image, z):
            setattr(image, keyword, image.PixelSpacing)
            del image.PixelSpacing

        return change

    whole = files.read(series(tmp_path / "whole"))
    for keyword, said in (("NominalScannedPixelSpacing", ""), ("ImagerPixelSpacing", "that of the detector")):
        got = files.read(series(tmp_path / keyword, rename(keyword)))
        np.testing.assert_allclose(got.affine, whole.affine, atol=tolerances.ROUNDING_F32)
        assert said in capsys.readouterr().err
    files.read(series(tmp_path / "none", lambda image, z: delattr(image, "PixelSpacing")))
    assert "its pixel spacing is unknown; 1 mm is taken" in capsys.readouterr().err
    refused(
        series(tmp_path / "some", lambda image, z: z == 3 and delattr(image, "PixelSpacing")),
        "lacks the pixel spacing that others have",
    )
    refused(series(tmp_path / "zero", lambda image, z: setattr(image, "PixelSpacing", [0, 1])), "pixel spacing of 0 mm")


@pytest.mark.parametrize("step, decimals", [(0.625, 1), (1.2, 1), (6.3, 0), (3.3333333, 1), (0.9765625, 2)])
def test_rounded_positions_lie_on_the_even_grid_that_fits_them(tmp_path, step, decimals):
    got = files.read(series(tmp_path / "s", along(lambda z: round(z * step, decimals))))
    np.testing.assert_array_equal(got.stored, VOXELS)
    assert got.affine[2, 2] == pytest.approx(step, rel=dicom_geometry.GRID_TOLERANCE / 2)


@pytest.mark.parametrize(
    "place, message",
    [
        (lambda z: 30 + 2.5 * z + 0.6 * (z == 3), "mm apart"),
        (lambda z: 30 + z**1.2, "mm apart"),
        (lambda z: 30 + 2.5 * z * (z != 3), "at one place"),
        (lambda z: 30 + 2.5 * (z + (z > 2)), "1 slices are missing"),
        (lambda z: 30 + 2.5 * (z + 3 * (z > 4)), "3 slices are missing, the first after slice 5"),
    ],
)
def test_uneven_positions_are_refused(tmp_path, place, message):
    refused(series(tmp_path / "s", along(place)), message)


def test_slices_that_wander_sideways_are_refused(tmp_path):
    refused(series(tmp_path / "s", move([[-10 + 2 * (z % 2), -20, 30 + 2.5 * z] for z in range(7)])), "off an even")


@pytest.mark.parametrize("degrees", [5, 20, -12])
def test_gantry_tilt_is_in_the_sform_and_in_no_qform(tmp_path, degrees):
    tilt = np.tan(np.radians(degrees))
    places = [[-10, -20 + tilt * 2.5 * z, 30 + 2.5 * z] for z in range(7)]

    def change(image, z):
        move(places)(image, z)
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]

    got = files.read(series(tmp_path / "s", change))
    for z, place in enumerate(places):
        expected = [-place[0], -place[1], place[2], 1]
        np.testing.assert_allclose(got.affine @ [0, 0, z, 1], expected, atol=tolerances.ROUNDING_F32)
    written = got._replace(origin={"kind": "picture", "flat": False})
    nifti.write_series(tmp_path / "t.nii", written)
    image = nib.load(tmp_path / "t.nii")
    assert image.header["qform_code"] == 0 and image.header["sform_code"] == 1
    np.testing.assert_allclose(image.affine @ [0, 0, 6, 1], got.affine @ [0, 0, 6, 1], atol=tolerances.PLACE_MM)
    assert not any(image.header[field] for field in nifti_headers.CODED_FIELDS["qform_code"])
    dicom_writer.write(tmp_path / "back", tmp_path / "back", got)
    np.testing.assert_allclose(files.read(tmp_path / "back").affine, got.affine, atol=tolerances.PLACE_MM)
    first = pydicom.dcmread(tmp_path / "back" / "0001.dcm")
    assert float(first.SpacingBetweenSlices) == pytest.approx(2.5)
    straight = files.read(series(tmp_path / "straight"))._replace(origin=written.origin)
    nifti.write_series(tmp_path / "q.nii", straight)
    assert nib.load(tmp_path / "q.nii").header["qform_code"] == 1


@pytest.mark.parametrize(
    "keyword, value, what",
    [
        ("SeriesInstanceUID", "1.9", "series"),
        ("StudyInstanceUID", "1.9", "studies"),
        ("PatientID", "X", "patients"),
        ("FrameOfReferenceUID", "1.9", "frames of reference"),
        ("Modality", "CT", "modalities"),
        ("EchoTime", 9, "echoes"),
    ],
)
def test_mixed_series_are_refused(tmp_path, keyword, value, what):
    refused(series(tmp_path / "s", lambda image, z: z == 3 and setattr(image, keyword, value)), f"holds 2 {what}")


@pytest.mark.parametrize("direction", [[1, 0, 0, 1, 0, 0], [2, 0, 0, 0, 1, 0], [0, 0, 0, 0, 0, 0]])
def test_a_direction_that_is_none(tmp_path, direction):
    refused(
        series(tmp_path / "s", lambda image, z: setattr(image, "ImageOrientationPatient", direction)),
        "not two perpendicular unit vectors",
    )


@pytest.mark.parametrize(
    "lacks, message",
    [
        (lambda image: delattr(image, "RescaleSlope"), "lacks the RescaleSlope that others have"),
        (lambda image: delattr(image, "RescaleIntercept"), "lacks the RescaleIntercept that others have"),
        (lambda image: setattr(image, "PhotometricInterpretation", "MONOCHROME1"), "white in some of its slices only"),
    ],
)
def test_a_scale_of_some_slices_alone_is_refused(tmp_path, lacks, message):
    def change(image, z):
        image.RescaleSlope, image.RescaleIntercept = 2, -5
        if z == 3:
            lacks(image)

    refused(series(tmp_path / "s", change), message)


def test_a_direction_that_one_slice_lacks_is_told(tmp_path, capsys):
    folder = series(tmp_path / "s", lambda image, z: z == 2 and delattr(image, "ImageOrientationPatient"))
    np.testing.assert_array_equal(files.read(folder).stored, VOXELS)
    assert "has no ImageOrientationPatient; that of the others is taken" in capsys.readouterr().err


def test_every_second_number_without_positions_is_refused(tmp_path):
    def change(image, z):
        del image.ImagePositionPatient
        image.InstanceNumber = 2 * z + 1

    refused(series(tmp_path / "s", change), "slices are missing")
