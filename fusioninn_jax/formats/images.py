"""PNG, TIFF and .npy <-> Series. The record goes where readers of the pixels don't look: a text chunk, the description
tag, or behind the array's last byte."""
from __future__ import annotations

import json
import pathlib
from typing import Any

import numpy as np
import tifffile
from PIL import Image, PngImagePlugin

from fusioninn_jax.formats import image_io, provenance
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import PIXELS, Series, uniform
from fusioninn_jax.runtime.errors import UserError

KIND = "picture"
ENDINGS = (".png", ".tif", ".tiff", ".npy")
TEXT = "fusioninn_jax"
ARRAY_TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8")
WRITABLE = {".png": "|u1 <u2", ".tif": "|u1 <u2 <f4", ".tiff": "|u1 <u2 <f4"}


def read(path: pathlib.Path) -> Series:
    """A grey PNG or TIFF, 8 or 16 bits, as a volume of one slice; an array (H, W) or (Z, H, W) from .npy.

    Raises:
      UserError: as `image_io.read_image`; a colour image; an array of another kind or with NaN or infinite values.
    """
    ending = path.suffix.lower()
    pixels, record = _read_array(path) if ending == ".npy" else (image_io.read_image(path), _find_record(path, ending))
    if ending != ".npy" and pixels.ndim == 3:
        raise UserError(f"{path}: is a colour image; fusion takes grey ones: convert it, or give one of its channels")
    stored = pixels.reshape(-1, *pixels.shape[-2:])
    scale = record["image"] if record else {"slope": 1.0, "intercept": 0.0}
    return uniform(stored, PIXELS, {"kind": KIND, "flat": pixels.ndim == 2}, scale["slope"],
                   scale["intercept"])._replace(record=record)


def _read_array(path: pathlib.Path) -> tuple[np.ndarray, Provenance | None]:
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
            rest = file.read()
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable array ({error}); save it anew with numpy.save") from error
    if array.ndim not in (2, 3) or 0 in array.shape or array.dtype.str[1:] not in ARRAY_TYPES:
        raise UserError(f"{path}: {array.dtype} of shape {array.shape} where integers or float32/64 of shape (H, W) or "
                        "(Z, H, W) are expected; convert it")
    if not np.isfinite(array).all():
        raise UserError(f"{path}: holds NaN or infinite values; replace them")
    return array, _parse(path, rest)


def _find_record(path: pathlib.Path, ending: str) -> Provenance | None:
    if ending == ".png":
        with Image.open(path) as image:
            image.load()  # text may follow the pixels
            return _parse(path, getattr(image, "text", {}).get(TEXT, ""))
    with tifffile.TiffFile(path) as file:
        return _parse(path, file.pages.first.description)


def _parse(path: pathlib.Path, text: str | bytes) -> Provenance | None:
    text = text.encode() if isinstance(text, str) else text
    if not text.startswith(provenance.START):
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"{path}: the record of the fusion in it is damaged; fuse anew") from error


def write(path: pathlib.Path, name: pathlib.Path, series: Series, record: Provenance | None = None) -> None:
    """Writes a series to `path` in the format that `name` says.

    Raises:
      UserError: a type that the format cannot hold, or several slices for a PNG or TIFF.
    """
    ending, stored = name.suffix.lower(), series.stored
    if ending != ".npy" and len(stored) > 1:
        raise UserError(f"{name}: {len(stored)} slices, where {ending} holds one; write .nii.gz or .npy")
    if ending != ".npy" and stored.dtype.str not in WRITABLE[ending].split():
        raise UserError(f"{name}: {ending} cannot hold {stored.dtype}; write .nii.gz or .npy")
    text = provenance.text(record) if record else b""
    if ending == ".npy":
        flat = len(stored) == 1 and series.origin.get("flat", False)
        with path.open("wb") as file:
            np.save(file, stored[0] if flat else stored)
            file.write(text)
    elif ending == ".png":
        info: Any = PngImagePlugin.PngInfo()
        if text:
            info.add_text(TEXT, text.decode())
        Image.fromarray(stored[0]).save(path, format="png", pnginfo=info)
    else:
        tifffile.imwrite(path, stored[0], photometric="minisblack", description=text.decode() or None, metadata=None)
