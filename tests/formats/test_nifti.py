"""formats.nifti: headers that lie, and extensions."""

import struct

import nibabel as nib
import numpy as np
import pytest

from fusioninn_jax.formats import files, nifti, nifti_headers, volume_io
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances
from tests.formats.volume_cases import SECRET, noise, store
from tests.studies import cases


@pytest.mark.parametrize(
    "slope, intercept",
    [(np.inf, 0), (1e38, 0), (1, np.inf), (1, 1e38), (-3e38, 0), (1e37, 1e38), (1, np.nan), (-np.inf, 3)],
)
def test_a_scale_that_overflows(tmp_path, slope, intercept):
    for path in (
        store(tmp_path / "a.nii", noise("i2"), slope, intercept),
        store(tmp_path / "b.nii.gz", noise("f4"), slope, intercept),
    ):
        with pytest.raises(UserError, match=f"{path.name}: ") as caught:
            files.read(path)
        assert "\n" not in str(caught.value)
        assert np.isfinite(intercept) or "its intercept is" in str(caught.value)
        with pytest.raises(UserError, match=f"{path.name}: "):
            volume_io.read_nifti(path)


@pytest.mark.parametrize(
    "columns",
    [
        [[1e20, 1e20, 0], [0, 1, 0], [0, 0, 1]],
        [[1, 0, 0], [0, 1, 0], [1e38, 0, 3e38]],
        [[1, 0, 0], [0, 1, 0], [0, 0, 0]],
    ],
)
def test_an_affine_without_directions_is_one_line(tmp_path, columns):
    path = store(tmp_path / "a.nii", noise())
    raw = bytearray(path.read_bytes())
    raw[280:328] = np.hstack([columns, np.zeros((3, 1))]).astype("<f4").tobytes()
    raw[254:256] = struct.pack("<h", 1)
    path.write_bytes(raw)
    for read in (nifti.read, volume_io.read_nifti):
        with pytest.raises(UserError, match="affine cannot be inverted"):
            read(path)


def test_voxels_that_begin_inside_the_header_are_refused(tmp_path):
    path = store(tmp_path / "a.nii", noise())
    raw = bytearray(path.read_bytes())
    raw[108:112] = struct.pack("<f", 0)
    path.write_bytes(raw)
    with pytest.raises(UserError, match="its voxels would begin inside its header"):
        files.read(path)


def test_nifti_extensions_survive_zeros(tmp_path):
    source = cases.save(tmp_path / "a.nii", cases.voxels(1))
    series = nifti.read(source)
    nifti.write_series(tmp_path / "b.nii", series, [(nifti.PRIVATE, b"\0abc\0\1"), (nifti.COMMENT, b"text")])
    assert nifti.extensions(tmp_path / "b.nii") == [(0, b"\0abc\0\1"), (6, b"text")]
    assert nib.load(tmp_path / "b.nii").header["vox_offset"] % 16 == 0
    np.testing.assert_array_equal(cases.stored(tmp_path / "b.nii"), cases.stored(source))


def test_a_header_for_other_voxels_has_their_type_and_scale_on_the_same_grid(tmp_path):
    source = nifti.read(cases.save(tmp_path / "a.nii", cases.voxels(1), descrip=SECRET, cal_max=900))
    for series in (source, source._replace(origin={"kind": "picture", "flat": False})):
        header = nifti.header_like(series, np.dtype("f4"), 0.5, -3)
        assert header.get_data_dtype() == np.float32 and (header["scl_slope"], header["scl_inter"]) == (0.5, -3)
        assert header["cal_max"] == 0 and SECRET not in header.binaryblock
        again = nifti.of_voxels(np.zeros(header.get_data_shape(), "f4"), header, 1.0, 0.0)
        np.testing.assert_allclose(again.affine, series.affine, atol=tolerances.PLACE_MM)


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("scl_slope", np.nan, "the scale of a source is none"),
        ("datatype", 16, "the type of a source is not that of its header"),
        ("srow_x", 0, "the affine of a source cannot be inverted"),
    ],
)
def test_a_header_in_a_record_that_cannot_be_written_is_told(tmp_path, field, value, message):
    source = nifti.read(cases.save(tmp_path / "a.nii", cases.voxels(1)))
    nifti.check_origin(tmp_path / "f.nii", source.origin, source.stored.dtype)
    header = nifti_headers.from_text(source.origin["header"])
    header[field] = value
    origin = source.origin | {"header": nifti_headers.to_text(header)}
    with pytest.raises(UserError, match=f"f.nii: .*{message}"):
        nifti.check_origin(tmp_path / "f.nii", origin, source.stored.dtype)


def test_slices_of_different_slopes_are_refused(tmp_path):
    series = nifti.read(cases.save(tmp_path / "a.nii", cases.voxels(1)))
    with pytest.raises(UserError, match="differ in rescale slope, which NIfTI cannot hold"):
        nifti.write_series(tmp_path / "b.nii", series._replace(slope=np.arange(1.0, 6)))
    assert not (tmp_path / "b.nii").exists()
