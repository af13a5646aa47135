"""PNG, TIFF, JPEG, BMP and .npy <-> Series. The record goes where readers of the pixels don't look: a text chunk, the
description tag, or behind the array's last byte."""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from fusioninn_jax.formats import colour, image_io, provenance
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series, uniform
from fusioninn_jax.runtime import guarded, numpy_files
from fusioninn_jax.runtime.errors import UserError

KIND = "picture"
ENDINGS = (*image_io.ENDINGS, ".npy")
TIFF = (".tif", ".tiff")
TEXT = "fusioninn_jax"
ARRAY_TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
WRITABLE = {".png": "|u1 <u2", ".tif": "|u1 <u2 <f4", ".tiff": "|u1 <u2 <f4"}


def read(path: pathlib.Path) -> Series:
    """The picture at `path`, 8 or 16 bits, as a volume: one slice, its colours as chroma, or the grey pages of a TIFF.

    From .npy an array (H, W) or (Z, H, W). Values of a .npy and of a float TIFF need not be finite.

    Raises:
      UserError: as `image_io.read_image`; an array of another kind.
    """
    ending = path.suffix.lower()
    chroma, is_stack = None, ending == ".npy" or ending in TIFF and image_io.page_count(path) > 1
    if ending == ".npy":
        pixels, record = _read_array(path)
    else:
        pixels = image_io.read_pages(path) if is_stack else image_io.read_image(path, finite=False)
        record = _find_record(path, ending)
    if not is_stack and pixels.ndim == 3:
        pixels, chroma = colour.split(pixels)
    stored = pixels.reshape(-1, *pixels.shape[-2:])
    scale = record["image"] if record and "image" in record else {"slope": 1.0, "intercept": 0.0}
    return uniform(
        stored,
        PIXELS,
        {"kind": KIND, "flat": pixels.ndim == 2 or chroma is not None},
        scale["slope"],
        scale["intercept"],
    )._replace(record=record, chroma=chroma)


def _read_array(path: pathlib.Path) -> tuple[np.ndarray, Provenance | None]:
    with guarded.open_file(path) as file, guarded.reading(path, "not a readable array", "save it anew with numpy.save"):
        length = path.stat().st_size
        header = numpy_files.read_npy_header(file)
        if len(header.shape) not in (2, 3) or 0 in header.shape or header.dtype.str[1:] not in ARRAY_TYPES:
            raise UserError(
                f"{path}: {header.dtype.name} of shape {header.shape} where integers or float32/64 of shape "
                "(H, W) or (Z, H, W) are expected; convert it"
            )
        file.seek(0)
        array = numpy_files.read_npy(file, length)
        return array.astype(array.dtype.newbyteorder("=")), _parse(path, file.read())


def _find_record(path: pathlib.Path, ending: str) -> Provenance | None:
    with (
        guarded.open_file(path) as handle,
        guarded.reading(path, "cannot be read as an image", "save it anew as PNG or TIFF"),
    ):
        if ending == ".png":
            with Image.open(handle, formats=["PNG"]) as image:
                image.load()  # text may follow the pixels
                return _parse(path, getattr(image, "text", {}).get(TEXT, ""))
        if ending in TIFF:
            with tifffile.TiffFile(handle) as file:
                return _parse(path, file.pages.first.description)
        return None


def _parse(path: pathlib.Path, text: str | bytes) -> Provenance | None:
    text = text.encode() if isinstance(text, str) else text
    return provenance.parse(path, text) if text.startswith(provenance.START) else None


def of_fused(luma: np.ndarray, chroma: np.ndarray | None) -> tuple[np.ndarray, colour.Chroma | None]:
    """A fused image as its file will give it back: (1, Y, X) luma in 16-bit levels, and what makes it coloured.

    Args:
      luma: (1, Y, X), about [0, 1].
      chroma: (1, Y, X, 2), in parts of white.
    """
    if chroma is not None:
        rgb = colour.paint(luma[0], chroma[0])
        if (rgb != rgb[..., :1]).any():
            return colour.split(rgb)
    return np.rint(np.clip(luma, 0, 1) * colour.DEPTH).astype(np.uint16), None


def write(path: pathlib.Path, name: pathlib.Path, series: Series, record: Provenance | None = None) -> None:
    """Writes a series in the format that a name says; in colours where it has some and the format takes them.

    Args:
      path: where the content goes, often a temporary name.
      name: what it will be called.
      series: what is written.
      record: the provenance of a fused image.

    Raises:
      UserError: a type that the format cannot hold, or several slices for a PNG.
    """
    ending, stored = name.suffix.lower(), series.stored
    if ending == ".png" and len(stored) > 1:
        raise UserError(f"{name}: {len(stored)} slices, where {ending} holds one; write .nii.gz, .tif or .npy")
    pixels = stored[0] if len(stored) == 1 else stored
    if ending != ".npy" and series.chroma is not None:
        pixels = colour.join(stored[0], series.chroma)
    if ending != ".npy" and pixels.dtype.newbyteorder("<").str not in WRITABLE[ending].split():
        raise UserError(f"{name}: {ending} cannot hold {pixels.dtype}; write .nii.gz or .npy")
    text = provenance.text(record) if record else b""
    if ending == ".npy":
        tell_grey(name, series)
        with path.open("wb") as file:
            np.save(file, stored[0] if len(stored) == 1 and series.origin.get("flat", False) else stored)
            file.write(text)
    elif ending == ".png":
        _write_png(path, pixels, {TEXT: text.decode()} if text else {})
    else:
        photometric = "rgb" if pixels.ndim == 3 and series.chroma is not None else "minisblack"
        tifffile.imwrite(path, pixels, photometric=photometric, description=text.decode() or None, metadata=None)


def tell_grey(name: pathlib.Path, series: Series) -> None:
    """A note on stderr where the file `name` of a format that is grey leaves out the colours of a `series`."""
    if series.chroma is not None:
        print(f"{name}: holds grey alone; for colours write .png or .tif", file=sys.stderr)


def _write_png(path: pathlib.Path, pixels: np.ndarray, texts: dict[str, str]) -> None:
    if pixels.ndim == 3 and pixels.dtype == np.uint16:
        path.write_bytes(image_io.encode_deep_png(pixels, texts))
        return
    info = PngImagePlugin.PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    Image.fromarray(pixels).save(path, format="png", pnginfo=info)
