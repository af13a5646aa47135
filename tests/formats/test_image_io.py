"""fusioninn_jax.formats.image_io: geometry, intensities and every kind of bad file."""

import gzip
import os
import zlib

import h5py
import nibabel as nib
import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image

from fusioninn_jax.formats import hdf5, image_io, volume_io
from fusioninn_jax.formats.grid import check_same
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances

ORIENTATIONS = ("LPS", "RAS", "LAS", "SPR", "ILA", "PSR", "AIL")


def _world_code(affine, shape):
    """A volume whose voxel value tells the voxel's place in RAS+ millimetres: x + 100 y + 10000 z."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    return (index @ affine[:3, :3].T + affine[:3, 3]) @ np.array([1.0, 100.0, 10000.0])


def _oriented(tmp_path, codes, name="v.nii.gz", shape=(7, 9, 5)):
    start = np.diag([1.0, 2.0, 3.0, 1.0])
    start[:3, 3] = (-3, -8, -6)
    change = nib.orientations.ornt_transform(nib.io_orientation(start), nib.orientations.axcodes2ornt(codes))
    affine = start @ nib.orientations.inv_ornt_aff(change, shape)
    shape = tuple(np.array(shape)[np.argsort(change[:, 0])])
    nib.save(nib.Nifti1Image(_world_code(affine, shape).astype(np.float32), affine), tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_every_orientation_becomes_lps_voxel_for_voxel(tmp_path, codes):
    path = _oriented(tmp_path, codes)
    assert "".join(nib.aff2axcodes(nib.load(path).affine)) == codes
    volume = volume_io.read_nifti(path)
    assert volume.voxels.shape == (7, 9, 5)
    assert volume.grid.spacing == pytest.approx((1.0, 2.0, 3.0))
    np.testing.assert_allclose(volume.voxels, _world_code(volume.affine, (7, 9, 5)), atol=tolerances.PLACE_MM)
    image = volume_io.slices_first(volume)[0] + 60000  # world: x grows to the right, y to the front
    assert image.shape == (9, 7)
    assert image[0, 0] > image[0, -1], "column 0 must be the patient's right"
    assert image[0, 0] > image[-1, 0], "row 0 must be anterior"
    assert (np.diff(volume_io.slices_first(volume)[:, 0, 0]) > 0).all(), "slices must run upwards"


@pytest.mark.parametrize("codes", ORIENTATIONS)
def test_writing_restores_the_order_and_affine_of_the_file(tmp_path, codes):
    path = _oriented(tmp_path, codes)
    volume_io.write_nifti(tmp_path / "w.nii.gz", volume_io.read_nifti(path))
    before, after = nib.load(path), nib.load(tmp_path / "w.nii.gz")
    np.testing.assert_array_equal(before.get_fdata(), after.get_fdata())
    np.testing.assert_allclose(before.affine, after.affine, atol=tolerances.PLACE_MM)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["v.nii.gz", "w.nii.gz"]


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
    path = _oriented(tmp_path, "LPS")
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


def test_same_grid():
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    volume = volume_io.Volume(np.zeros((10, 10, 10)), affine, affine)
    near, far, turned = affine.copy(), affine.copy(), affine.copy()
    near[0, 3] += 0.05
    far[0, 3] += 0.2
    turned[0, 1] += 0.02  # nothing at the corner of the affine, 0.18 mm at the far end
    check_same(volume.grid, volume._replace(affine=near).grid, "a", "b")
    for other in (far, turned):
        with pytest.raises(UserError, match="^b: its affine puts the volume up to 0.* mm away from a"):
            check_same(volume.grid, volume._replace(affine=other).grid, "a", "b")
    with pytest.raises(UserError, match="^b: shape .* differs from .* of a"):
        check_same(volume.grid, volume._replace(voxels=np.zeros((10, 10, 9))).grid, "a", "b")


GREY = np.random.default_rng(0).integers(0, 256, (11, 7), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (11, 7, 3), dtype=np.uint8)
GREY16 = np.random.default_rng(2).integers(0, 65536, (11, 7), dtype=np.uint16)
COLOUR16 = np.random.default_rng(3).integers(0, 65536, (11, 7, 3), dtype=np.uint16)


@pytest.mark.parametrize("pixels", [GREY, COLOUR, GREY16, COLOUR16], ids=["grey8", "colour8", "grey16", "colour16"])
def test_png_and_tiff_keep_every_bit(tmp_path, pixels):
    channels = pixels if pixels.ndim == 3 else pixels[..., None]
    (tmp_path / "i.png").write_bytes(tf.io.encode_png(channels).numpy())
    tifffile.imwrite(tmp_path / "i.tif", pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    for name in ("i.png", "i.tif"):
        image = image_io.read_image(tmp_path / name)
        assert image.dtype == pixels.dtype, name
        np.testing.assert_array_equal(image, pixels, err_msg=name)


def test_planar_tiff_transparency_and_palettes(tmp_path):
    tifffile.imwrite(tmp_path / "planar.tif", np.moveaxis(COLOUR16, -1, 0), photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(image_io.read_image(tmp_path / "planar.tif"), COLOUR16)
    alpha16 = np.concatenate([COLOUR16, COLOUR16[..., :1]], axis=-1)
    (tmp_path / "a.png").write_bytes(tf.io.encode_png(alpha16).numpy())
    np.testing.assert_array_equal(image_io.read_image(tmp_path / "a.png"), COLOUR16)
    palette = Image.fromarray(COLOUR // 64 * 64).quantize(colors=64)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(image_io.read_image(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))


def test_bad_images_are_one_line(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:20000])
    Image.fromarray(GREY).save(tmp_path / "jpeg.png", format="jpeg")
    (tmp_path / "text.tif").write_text("hello")
    tifffile.imwrite(tmp_path / "pages.tif", np.zeros((3, 8, 8), np.uint8), photometric="minisblack")
    tifffile.imwrite(tmp_path / "nan.tif", np.full((8, 8), np.nan, np.float32))
    for name, message in {
        "cut.png": "cannot be read",
        "jpeg.png": "it is JPEG",
        "text.tif": "cannot be read",
        "pages.tif": "3 pages",
        "nan.tif": "NaN",
        "none.png": "no such file",
    }.items():
        with pytest.raises(UserError, match=message) as caught:
            image_io.read_image(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)


def test_luma_and_chroma_are_those_of_jpeg():
    luma, chroma = image_io.luma_chroma(COLOUR)
    expected = np.asarray(Image.fromarray(COLOUR).convert("YCbCr"), np.float32)
    np.testing.assert_allclose(luma, expected[..., 0], atol=tolerances.COLOUR_LEVELS)
    np.testing.assert_allclose(np.clip(chroma + 128, 0, 255), expected[..., 1:], atol=tolerances.COLOUR_LEVELS)
    assert chroma.shape == (11, 7, 2)


def _data(path, **how):
    """An HDF5 file with an empty dataset `data`, and that dataset while it is open."""
    file = h5py.File(path, "w")
    return file, file.create_dataset("data", (4, 2, 3, 3), "f4", **how)


def test_compressed_hdf5_is_read_chunk_by_chunk(tmp_path):
    rows = np.arange(4 * 2 * 3 * 3, dtype=np.float32).reshape(4, 2, 3, 3)
    file, data = _data(tmp_path / "a.h5", chunks=(3, 2, 2, 3), compression="gzip", shuffle=True, fletcher32=True)
    data[:] = rows
    file.close()
    np.testing.assert_array_equal(hdf5.read_hdf5(tmp_path / "a.h5", 1, 4), rows[1:4])


def test_an_hdf5_bomb(tmp_path):
    file, data = _data(tmp_path / "a.h5", chunks=(1, 2, 3, 3), compression="gzip")
    data.id.write_direct_chunk((1, 0, 0, 0), zlib.compress(bytes(50 << 20)), 0)
    file.close()
    np.testing.assert_array_equal(hdf5.read_hdf5(tmp_path / "a.h5", 2, 4), 0)
    with pytest.raises(UserError, match="its compressed content is longer than the 76 bytes declared"):
        hdf5.read_hdf5(tmp_path / "a.h5", 0, 4)
    file, _ = _data(tmp_path / "b.h5", chunks=(1, 2, 3, 3), compression="lzf")
    file.close()
    with pytest.raises(UserError, match="it is compressed in a way that is not read here"):
        hdf5.read_hdf5(tmp_path / "b.h5", 0, 4)


@pytest.mark.parametrize("where", ["link", "storage"])
def test_hdf5_whose_values_lie_elsewhere_is_refused_at_once(tmp_path, where):
    os.mkfifo(tmp_path / "pipe")
    if where == "link":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["data"] = h5py.ExternalLink(str(tmp_path / "pipe"), "data")
    else:
        file, _ = _data(tmp_path / "a.h5", external=[(str(tmp_path / "pipe"), 0, 4 * 4 * 2 * 3 * 3)])
        file.close()
    for read in (lambda path: hdf5.hdf5_length(path, (2, 3, 3)), lambda path: hdf5.read_hdf5(path, 0, 4)):
        with pytest.raises(UserError, match="no dataset named 'data'|its values lie in other files"):
            read(tmp_path / "a.h5")


def test_colour_comes_back_and_grey_has_no_chroma():
    luma, chroma = image_io.luma_chroma(COLOUR16)
    np.testing.assert_allclose(image_io.colour(luma, chroma), COLOUR16, atol=65535 * tolerances.SUM_F32)
    _, none = image_io.luma_chroma(np.repeat(GREY[..., None], 3, axis=-1))
    np.testing.assert_allclose(none, 0, atol=tolerances.COARSE)


def test_hdf5(tmp_path):
    rows = np.arange(5 * 2 * 3 * 3, dtype=np.float32).reshape(5, 2, 3, 3)
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        file["data"] = rows
        file["other"] = np.zeros(3)
    assert hdf5.hdf5_length(path, (2, 3, 3)) == 5
    np.testing.assert_array_equal(hdf5.read_hdf5(path, 1, 4), rows[1:4])
    with pytest.raises(UserError, match=r"of shape \(5, 2, 3, 3\) where numbers of shape \(N, 4, 3, 3\)"):
        hdf5.hdf5_length(path, (4, 3, 3))
    with h5py.File(path, "a") as file:
        del file["data"]
    with pytest.raises(UserError, match="no dataset named 'data' among the 1 there"):
        hdf5.hdf5_length(path, (2, 3, 3))
    with h5py.File(path, "a") as file:
        file["data"] = np.zeros(3, [("FAMILY^GIVEN", "f4")])
    with pytest.raises(UserError, match="'data' is void32 of shape"):
        hdf5.hdf5_length(path, (2, 3, 3))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="truncated or not HDF5"):
        hdf5.hdf5_length(path, (2, 3, 3))
    with pytest.raises(UserError, match="no such file"):
        hdf5.hdf5_length(tmp_path / "none.h5", (2, 3, 3))


def test_real_volume(realdata):
    path = next(iter(sorted(realdata.rglob("*_t1ce.nii.gz"))))
    volume = volume_io.read_nifti(path)
    stored = np.asarray(nib.load(path).dataobj)  # BraTS is stored in LPS order already
    np.testing.assert_array_equal(volume.voxels, stored)
    assert volume.voxels.shape == (240, 240, 155) and volume.grid.spacing.tolist() == [1.0, 1.0, 1.0]


def test_a_picture_noted_as_turned_is_turned_upright(tmp_path):
    grey = np.arange(15 * 20, dtype=np.uint8).reshape(15, 20)
    note = Image.Exif()
    note[274] = 6  # the first row is shown at the right
    Image.fromarray(grey).save(tmp_path / "a.png", exif=note)
    np.testing.assert_array_equal(image_io.read_image(tmp_path / "a.png"), np.rot90(grey, -1))
    tifffile.imwrite(tmp_path / "a.tif", grey, extratags=[(274, "H", 1, 6, True)])
    with pytest.raises(UserError, match="a.tif: is to be shown turned or mirrored"):
        image_io.read_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", grey, extratags=[(274, "H", 1, 1, True)])
    np.testing.assert_array_equal(image_io.read_image(tmp_path / "b.tif"), grey)


@pytest.mark.parametrize(
    "channels, more",
    [
        (4, {"photometric": "separated"}),
        (3, {"photometric": "cielab"}),
        (3, {"photometric": "minisblack", "planarconfig": "contig"}),
    ],
)
def test_pixels_that_are_neither_grey_nor_rgb_are_refused(tmp_path, channels, more):
    pixels = np.random.default_rng(0).integers(0, 255, (8, 9, channels)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, **more)
    with pytest.raises(UserError, match=f"a.tif: .*its {channels} channels are .*, not grey or RGB"):
        image_io.read_image(tmp_path / "a.tif")
