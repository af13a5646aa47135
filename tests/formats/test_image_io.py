"""formats.image_io: pixels bit by bit, colour, and every kind of bad picture."""

import numpy as np
import pytest
import tensorflow as tf
import tifffile
from PIL import Image

from fusioninn_jax.formats import files, image_io
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances
from tests.formats.picture_cases import grey, save

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


def test_colour_comes_back_and_grey_has_no_chroma():
    luma, chroma = image_io.luma_chroma(COLOUR16)
    np.testing.assert_allclose(image_io.colour(luma, chroma), COLOUR16, atol=65535 * tolerances.SUM_F32)
    _, none = image_io.luma_chroma(np.repeat(GREY[..., None], 3, axis=-1))
    np.testing.assert_allclose(none, 0, atol=tolerances.COARSE)


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


@pytest.mark.parametrize("way", ["RGB", "RGBA", "P", "palette", "CMYK.jpg", "RGB.jpg", "tif"])
def test_grey_that_is_stored_as_colour_is_grey(tmp_path, way):
    pixels, path = grey(3), tmp_path / f"g.{way.rpartition('.')[2] if '.' in way else 'png'}"
    image = Image.fromarray(pixels)
    if way == "tif":
        path = save(tmp_path / "g.tif", np.repeat(pixels[..., None], 3, -1))
    elif way == "palette":
        image = image.convert("P")
        image.putpalette([level for level in range(256) for _ in range(3)])
        image.save(path)
    else:
        image.convert(way.partition(".")[0]).save(path, **({"quality": 100} if path.suffix == ".jpg" else {}))
    read = image_io.read_image(path)
    assert read.ndim == 2
    np.testing.assert_allclose(read.astype(int), pixels, atol=tolerances.JPEG_LEVELS if path.suffix == ".jpg" else 0)
    assert files.read(path).chroma is None
