"""Decomposed DICOM series: as many bits, and the window, that their sources had."""

import numpy as np
import pydicom
import pytest

from fusioninn_jax.formats import dicom, files, provenance
from tests.studies import cases, dicom_series
from tests.studies.cases import run_decompose, run_fuse

WINDOW, DISPLAY = [400.0, 900.0], ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")


def set_window(image):
    image.WindowCenter, image.WindowWidth = WINDOW


def write(folder, seed=0, bits=12, change=set_window, voxels=None):
    """A series of so many bits, each of its files changed."""
    voxels = cases.voxels(seed, (8, 6, 5), "u2").transpose(2, 1, 0) if voxels is None else voxels
    dicom_series.write(folder, voxels.view("u2"))
    for path in folder.iterdir():
        image = pydicom.dcmread(path)
        image.BitsStored, image.HighBit, image.PixelRepresentation = bits, bits - 1, int(voxels.dtype.kind == "i")
        change(image)
        image.save_as(path)
    return folder


def every_file(folder):
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def rewritten(tmp_path, folder, values=None):
    """The files of a series that is read and written, perhaps with other stored values."""
    series = files.read(folder)
    series = series if values is None else series._replace(stored=values(series.stored))
    files.write(tmp_path / "again", tmp_path / "again", series)
    return every_file(tmp_path / "again")


def said(image):
    return [image[keyword].value for keyword in DISPLAY]


def window(image):
    return [image.WindowCenter, image.WindowWidth]


@pytest.fixture
def study(tmp_path):
    """One series with a window, one without."""
    return [write(tmp_path / "t1"), write(tmp_path / "flair", 1, change=lambda image: None)]


def test_bits_and_window_come_back(tmp_path, model_folder, study):
    back = [tmp_path / "b0", tmp_path / "b1"]
    run_fuse(model_folder, *study, "-o", tmp_path / "fused", "--latent", tmp_path / "z.nii.gz")
    run_decompose(model_folder, tmp_path / "fused", "--latent", tmp_path / "z.nii.gz", "-o", *back)
    for folder, copy in zip(study, back, strict=True):
        np.testing.assert_array_equal(files.read(copy).stored, files.read(folder).stored)
        assert {tuple(said(image)) for image in every_file(copy)} == {(16, 12, 11, 0)}
    assert all(window(image) == WINDOW for image in every_file(back[0]))
    low, high = int(files.read(study[1]).stored.min()), int(files.read(study[1]).stored.max())
    assert all(window(image) == [(low + high) / 2, high - low] for image in every_file(back[1]))
    for image in every_file(tmp_path / "fused"):
        assert said(image) == [16, 16, 15, 0] and window(image) != WINDOW


def test_a_record_without_bits_and_window_is_decomposed_as_before(tmp_path, model_folder, study, monkeypatch):
    described = provenance._described

    def earlier(source):
        return described(
            source._replace(origin={k: v for k, v in source.origin.items() if k not in ("bits", "window")})
        )

    monkeypatch.setattr(provenance, "_described", earlier)
    run_fuse(model_folder, *study, "-o", tmp_path / "fused")
    run_decompose(model_folder, tmp_path / "fused", "-o", tmp_path / "b0", tmp_path / "b1")
    for image in every_file(tmp_path / "b0"):
        assert said(image) == [16, 16, 15, 0] and window(image) != WINDOW


@pytest.mark.parametrize("dtype, low, high", [("u2", 0, 4095), ("i2", -2048, 2047)])
def test_values_beyond_the_bits_are_clipped(tmp_path, dtype, low, high):
    first = -60 if dtype == "i2" else 0
    folder = write(tmp_path / "a", voxels=np.arange(first, first + 120, dtype=dtype).reshape(5, 4, 6))

    def beyond(stored):
        changed = stored.copy()
        changed[:, 0, 0], changed[:, 0, 1] = np.iinfo(dtype).min, np.iinfo(dtype).max
        return changed

    for image in rewritten(tmp_path, folder, beyond):
        assert said(image) == [16, 12, 11, int(dtype == "i2")]
        np.testing.assert_array_equal(image.pixel_array[0, :2], [low, high])
    np.testing.assert_array_equal(files.read(tmp_path / "again").stored[:, 1:], files.read(folder).stored[:, 1:])


@pytest.mark.parametrize("dtype, value", [("u2", 4096), ("i2", 2048), ("i2", -2049), ("u4", 7), ("f4", 7)])
def test_bits_that_the_pixels_leave_are_not_kept(dtype, value):
    """As a decoder may give them from compressed pixels: they would be clipped."""
    image = dicom.Image(None, pydicom.Dataset())
    image.dataset.BitsStored = 12 if dtype.endswith("2") else 32
    assert dicom._bits([dicom.Frame(np.full((2, 2), value, dtype), image, None, None, None, None)]) is None


def test_the_first_of_several_windows_is_kept(tmp_path):
    def several(image):
        image.WindowCenter, image.WindowWidth = [400, 7], [900, 8]

    assert all(window(image) == WINDOW for image in rewritten(tmp_path, write(tmp_path / "a", change=several)))


def test_of_slices_with_windows_of_their_own_the_middle_one_has_it(tmp_path):
    def change(image):
        image.WindowCenter, image.WindowWidth = 100 * image.InstanceNumber, 9

    assert files.read(write(tmp_path / "a", change=change)).origin["window"] == [300, 9]


@pytest.mark.parametrize(
    "center, width", [("", ""), ("40", ""), ("40", "0"), ("40", "-3"), ("1e300", "9"), ("9", "1e99")]
)
def test_a_window_that_is_none_is_left_out(tmp_path, center, width):
    def change(image):
        image.WindowCenter, image.WindowWidth = center, width

    assert "window" not in files.read(write(tmp_path / "a", change=change)).origin


def test_a_window_of_values_that_are_read_inverted_is_left_out(tmp_path):
    def change(image):
        set_window(image)
        image.PhotometricInterpretation = "MONOCHROME1"

    origin = files.read(write(tmp_path / "a", change=change)).origin
    assert "window" not in origin and origin["bits"] == 12


def test_the_window_of_a_frame(tmp_path):
    path = dicom_series.write_multiframe(tmp_path / "a.dcm", np.zeros((3, 4, 6), "u2"))
    image, of_frame = pydicom.dcmread(path), pydicom.Dataset()
    set_window(of_frame)
    for group in image.PerFrameFunctionalGroupsSequence:
        group.FrameVOILUTSequence = [of_frame]
    image.save_as(path)
    assert files.read(path).origin["window"] == WINDOW


def test_a_series_brought_to_another_grid_does_not_take_its_bits(tmp_path):
    pytest.importorskip("SimpleITK")
    from fusioninn_jax.studies import regridding

    large = np.full((5, 6, 8), 60000, "u2")
    moved = regridding.resample(
        files.read(write(tmp_path / "b", bits=16, voxels=large)), files.read(write(tmp_path / "a"))
    )
    assert moved.stored.max() == 60000 and not {"bits", "window"} & set(moved.origin)
