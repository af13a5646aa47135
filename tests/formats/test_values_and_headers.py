"""Values that cannot be computed with, fill values, and what a header may keep: NIfTI, arrays and pictures."""

import gzip
import struct

import nibabel as nib
import numpy as np
import pytest
import tifffile
from PIL import Image

from fusioninn_jax.formats import files, nifti, volume_io
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform, with_background
from fusioninn_jax.runtime.errors import UserError
from tests.studies import cases

SECRET = b"FAMILY^GIVEN"


def store(path, voxels, slope=1.0, intercept=0.0):
    """(Y, X, Z) voxels in the format of the ending; the scale where it holds one."""
    if path.name.endswith(".npy"):
        np.save(path, voxels.transpose(2, 0, 1))
    elif path.name.endswith(".tif"):
        tifffile.imwrite(path, voxels[..., 0])
    else:
        raw = bytearray(nib.Nifti1Image(voxels, np.diag([-1.0, -1, 1, 1])).to_bytes())
        raw[112:120] = struct.pack("<2f", slope, intercept)
        path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


def noise(dtype="f4", depth=3):
    return (np.random.default_rng(0).random((6, 5, depth)) * 900).astype(dtype)


@pytest.mark.parametrize(
    "name, dtype, value",
    [
        ("a.nii", "f8", 1e300),
        ("a.nii", "f8", -1e39),
        ("a.nii.gz", "f4", np.inf),
        ("a.nii", "f4", np.nan),
        ("a.nii", "f4", 3.3e38),
        ("a.npy", "f8", 1e200),
        ("a.npy", "f4", -np.inf),
        ("a.npy", "f4", 2e38),
        ("a.nii", "f4", -3.4e38),
    ],
)
def test_the_slice_and_the_value_are_named(tmp_path, name, dtype, value):
    voxels = noise(dtype)
    voxels[2, 2, 1] = value
    path = store(tmp_path / name, voxels)
    with pytest.raises(UserError, match=rf"{name}: slice 2 holds 1 values that cannot be computed with, the first "):
        files.read(path)
    mended = files.read(path, fill_value=value if np.isfinite(value) else float("nan"))
    assert np.isfinite(mended.values).all()
    expected = np.delete(voxels.astype("f8").ravel(), np.ravel_multi_index((2, 2, 1), voxels.shape)).min()
    assert mended.values.min() == np.float32(expected) and np.ptp(mended.values) < 1000


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
    "name, fill", [("a.nii", -3.4028235e38 / 8), ("a.npy", 1e20), ("a.tif", -1e12), ("a.nii.gz", -1e30)]
)
def test_a_fill_value_that_flattens_a_slice(tmp_path, name, fill):
    voxels = noise(depth=1)
    voxels[:2, 3] = fill
    path = store(tmp_path / name, voxels)
    with pytest.raises(UserError, match="slice 1 holds .*, beside which all else is flat; .*--fill-value="):
        files.read(path)
    series = files.read(path, fill_value=fill)
    assert np.ptp(series.values) < 900 and (series.values == series.values.min()).sum() == 3


def test_large_and_small_readings_are_no_fill_values(tmp_path):
    for voxels in (
        noise() * 1e9,
        noise() * 1e-30,
        noise("i2") * 0,
        noise() * 1e12,
        np.where(noise() > 500, 4e9, noise()),
    ):
        path = store(tmp_path / "a.nii", voxels.astype("f4"))
        assert files.read(path).stored.shape == (3, 5, 6)


def test_background_of_integers_and_of_slopes():
    stored = np.array([[[-9999, 4], [7, 9]], [[-9999, -9999], [5, 6]]], np.int16)
    series = uniform(stored, PIXELS, {"kind": "picture", "flat": False}, 0.5, 100)
    np.testing.assert_array_equal(
        with_background(series, 0.5 * -9999 + 100).stored, [[[4, 4], [7, 9]], [[4, 4], [5, 6]]]
    )
    falling = series._replace(slope=np.array([-0.5, -0.5]))
    np.testing.assert_array_equal(
        with_background(falling, 0.5 * 9999 + 100).stored, [[[9, 4], [7, 9]], [[9, 9], [5, 6]]]
    )
    assert with_background(series, 12345.0) is series


STRINGS = {
    "nifti1": {"data_type": 10, "db_name": 18, "descrip": 80, "aux_file": 24, "intent_name": 16},
    "nifti2": {"descrip": 80, "aux_file": 24, "intent_name": 16, "unused_str": 15},
}


OF_BOTH = ("slice_start", "slice_end", "toffset", "slice_duration", "intent_p1", "intent_p2", "intent_p3", "slice_code")
NUMBERS = {"nifti1": ("extents", "session_error", "glmax", "glmin", "regular", *OF_BOTH), "nifti2": OF_BOTH}


@pytest.mark.parametrize("kind", STRINGS)
@pytest.mark.parametrize("order", "<>")
def test_an_allow_list_says_what_a_header_keeps(tmp_path, kind, order):
    header = (nib.Nifti1Header if kind == "nifti1" else nib.Nifti2Header)(endianness=order)
    header.set_data_shape((5, 6, 3))
    header.set_data_dtype(f"{order}i2")
    header.set_sform(cases.AFFINE, 1)
    for field, length in STRINGS[kind].items():
        header[field] = SECRET[:length]
    for field in NUMBERS[kind]:
        header[field] = 77
    header["pixdim"][4:] = 1950.0101
    header["qoffset_x"] = header["quatern_b"] = 0.19500101  # unused, as qform_code is 0
    header["vox_offset"], header["magic"] = header.single_vox_offset, header.single_magic
    path = tmp_path / "a.nii"
    content = header.binaryblock + bytes(4)
    path.write_bytes(content.ljust(header.single_vox_offset, b"\0") + noise("i2").astype(f"{order}i2").tobytes())
    series = files.read(path)
    nifti.write_series(tmp_path / "b.nii", series)
    written = nib.load(tmp_path / "b.nii").header
    raw = (tmp_path / "b.nii").read_bytes()
    assert b"FAMILY" not in raw and type(written) is type(nib.load(path).header) and written.endianness == order
    for field in NUMBERS[kind]:
        assert written[field] in (0, b""), field
    assert not written["qoffset_x"] and not written["quatern_b"] and set(written["pixdim"][4:].tolist()) <= {0, 1}
    np.testing.assert_array_equal(written.get_best_affine(), header.get_best_affine())
    nifti.write_series(tmp_path / "c.nii", files.read(path, keep_phi=True))
    assert b"FAMILY" in (tmp_path / "c.nii").read_bytes()


@pytest.mark.parametrize("field", ["intent_code", "xyzt_units", "dim_info"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_letters_in_place_of_a_code_are_not_kept(tmp_path, kind, field):
    image = kind(noise("i2"), cases.AFFINE)
    content = bytearray(image.to_bytes())
    of_field, place = image.header.template_dtype.fields[field][:2]
    content[place : place + of_field.itemsize] = SECRET[: of_field.itemsize]
    (tmp_path / "a.nii").write_bytes(content)
    nifti.write_series(tmp_path / "b.nii", files.read(tmp_path / "a.nii"))
    assert nib.load(tmp_path / "b.nii").header[field] == 0


def test_names_of_fields_are_not_told(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4), [(SECRET.decode(), "f4")]))
    with pytest.raises(UserError, match="are expected") as caught:
        files.read(tmp_path / "a.npy")
    assert SECRET.decode() not in str(caught.value)


def test_upper_case_endings_mean_the_same(tmp_path):
    series = files.read(cases.save(tmp_path / "A.NII.GZ", cases.voxels(1)))
    files.write(tmp_path / "B.NII.GZ", tmp_path / "B.NII.GZ", series)
    assert (tmp_path / "B.NII.GZ").read_bytes()[:2] == b"\x1f\x8b"
    np.testing.assert_array_equal(nib.load(tmp_path / "B.NII.GZ").get_fdata(), cases.voxels(1))
    volume_io.write_nifti(tmp_path / "C.Nii.Gz", volume_io.read_nifti(tmp_path / "A.NII.GZ"))
    assert (tmp_path / "C.Nii.Gz").read_bytes()[:2] == b"\x1f\x8b"
    flat = uniform(noise("u2", 1).transpose(2, 0, 1), PIXELS, {"kind": "picture", "flat": True})
    for name in ("d.PNG", "e.TIF", "f.TIFF", "g.NPY", "h.Png"):
        files.write(tmp_path / name, tmp_path / name, flat)
        np.testing.assert_array_equal(files.read(tmp_path / name).stored, flat.stored)
    Image.fromarray(noise("u1", 1)[..., 0]).save(tmp_path / "i.JPG", format="jpeg", quality=100)
    assert files.read(tmp_path / "i.JPG").stored.shape == (1, 6, 5)


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


@pytest.mark.parametrize(
    "fills",
    [(-(2.0**31),), (1e30,), (-1e30,), (-1e30, -5e29), (-1e9,)],
    ids=lambda fills: f"{len(fills)} of {fills[0]:g}",
)
@pytest.mark.parametrize("where", ["voxels", "slice"])
def test_fill_values_that_flatten_the_rest_are_named(tmp_path, fills, where):
    voxels = noise("f4", 4)
    if where == "slice":
        voxels[..., 1] = fills[0]
    else:
        voxels[: len(fills), 0, 2] = fills
    with pytest.raises(UserError, match=r"beside which all else is flat; mend it, or .*--fill-value="):
        files.read(store(tmp_path / "a.nii", voxels))


def test_voxels_that_begin_inside_the_header_are_refused(tmp_path):
    path = store(tmp_path / "a.nii", noise())
    raw = bytearray(path.read_bytes())
    raw[108:112] = struct.pack("<f", 0)
    path.write_bytes(raw)
    with pytest.raises(UserError, match="its voxels would begin inside its header"):
        files.read(path)


def test_a_fill_value_that_no_voxel_has_is_told(tmp_path, capsys):
    path = store(tmp_path / "a.nii", noise())
    files.read(path, fill_value=-7.5)
    assert capsys.readouterr().err == f"{path}: no voxel, or each, is -7.5; none is taken for missing\n"
