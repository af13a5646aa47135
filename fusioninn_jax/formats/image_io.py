"""Pictures, PNG, TIFF, JPEG and BMP <-> NumPy arrays, in the units of the file."""

from __future__ import annotations

import contextlib
import os
import pathlib
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import tifffile
from PIL import Image, ImageFile, ImageOps

from fusioninn_jax.runtime import decompression, guarded
from fusioninn_jax.runtime.errors import UserError

LARGEST = float(np.finfo(np.float32).max) / 4  # of a value: differences of two stay finite
MOST_PIXELS = 178_956_970  # of a picture; Pillow's own bound
ENDINGS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
MAGICS: dict[str, bytes | tuple[bytes, ...]] = {
    "PNG": PNG_MAGIC,
    "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
    "JPEG": b"\xff\xd8\xff",
    "BMP": b"BM",
}
GREY = (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.PALETTE)
JPEG_COLOUR = (tifffile.PHOTOMETRIC.YCBCR, tifffile.COMPRESSION.JPEG)  # its decoder gives RGB
TRANSPARENCY = ((tifffile.EXTRASAMPLE.ASSOCALPHA,), (tifffile.EXTRASAMPLE.UNASSALPHA,))
PathLike = str | os.PathLike[str]


def encode_deep_png(rgb: np.ndarray, texts: dict[str, str]) -> bytes:
    """Colours `rgb`, (H, W, 3) uint16, as a PNG, which Pillow cannot write (ISO/IEC 15948).

    `texts` go into it by their keywords; both are Latin-1.
    """

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = np.ascontiguousarray(rgb, ">u2").view(np.uint8).reshape(len(rgb), -1)
    up = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # modulo 256: filter 2, the difference to the row above
    filtered = np.concatenate([np.full((len(rows), 1), 2, np.uint8), up], axis=1)
    head = struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 16, 2, 0, 0, 0)
    notes = [chunk(b"tEXt", key.encode("latin-1") + b"\0" + text.encode("latin-1")) for key, text in texts.items()]
    return b"".join(
        [
            PNG_MAGIC,
            chunk(b"IHDR", head),
            *notes,
            chunk(b"IDAT", zlib.compress(filtered.tobytes())),
            chunk(b"IEND", b""),
        ]
    )


def read_image(path: PathLike, *, finite: bool = True) -> np.ndarray:
    """Reads a PNG, TIFF, JPEG or BMP, 8 or 16 bits, grey or colour; transparency is dropped.

    Grey that is stored as colour or with a palette (three equal channels) is grey. What a camera notes as turned (EXIF)
    is turned upright.

    Args:
      path: the file.
      finite: refuse NaN, infinite and overflowing pixels.

    Returns:
      (H, W) grey or (H, W, 3) colour, in the type and units of the file (uint8, uint16 or float32).

    Raises:
      UserError: missing, unreadable or truncated file, another format, several pages, NaN or infinite pixels.
    """
    path = pathlib.Path(path)
    with guarded.reading(path, "cannot be read as an image", "save it anew as PNG or TIFF"):
        kind = _kind(path)
        image = _read_tiff(path) if kind == "TIFF" else _read_with_pillow(path, kind)
    image = _as_read(path, image)
    if finite and not (np.abs(image) <= LARGEST).all():
        raise UserError(f"{path}: holds NaN or infinite pixels; replace them before preparing")
    return image


def _as_read(path: pathlib.Path, image: np.ndarray) -> np.ndarray:
    """Without transparency; (H, W) where all channels are equal; float32 unless uint8 or uint16."""
    if image.ndim == 3 and image.shape[-1] in (2, 4):  # grey or colour with transparency
        image = image[..., 0] if image.shape[-1] == 2 else image[..., :3]
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[-1] == 3) or image.dtype.kind not in "iuf":
        raise UserError(f"{path}: shape {image.shape} where one 2-D grey or colour image is expected; split its pages")
    if image.dtype not in (np.uint8, np.uint16):
        with np.errstate(over="ignore"):
            image = image.astype(np.float32)
    return image[..., 0] if image.ndim == 3 and (image == image[..., :1]).all() else image


def luma_chroma(rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Splits colour as ITU-R BT.601 does, full range, in the units of the file.

    Y = 0.299 R + 0.587 G + 0.114 B, Cb = (B - Y) / 1.772, Cr = (R - Y) / 1.402; both chroma are 0 for grey (no offset).

    Args:
      rgb: (..., 3).

    Returns:
      Luma (...,) and chroma (..., 2), float32.
    """
    red, green, blue = np.moveaxis(np.asarray(rgb, np.float64), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = np.stack([(blue - luma) / 1.772, (red - luma) / 1.402], axis=-1)
    return luma.astype(np.float32), chroma.astype(np.float32)


def colour(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """The inverse of `luma_chroma`: (...,) luma and (..., 2) chroma to (..., 3) RGB, float32, not clipped."""
    luma = np.asarray(luma, np.float64)
    blue_difference, red_difference = np.moveaxis(np.asarray(chroma, np.float64), -1, 0)
    red, blue = luma + 1.402 * red_difference, luma + 1.772 * blue_difference
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return np.stack([red, green, blue], axis=-1).astype(np.float32)


@contextlib.contextmanager
def _opened_tiff(path: pathlib.Path) -> Iterator[tuple[BinaryIO, tifffile.TiffFile]]:
    """A TIFF; what reading it raises becomes one line."""
    with (
        guarded.reading(path, "cannot be read as an image", "save it anew as PNG or TIFF"),
        guarded.open_file(path) as handle,
        tifffile.TiffFile(handle) as file,
    ):
        yield handle, file


def read_pages(path: pathlib.Path) -> np.ndarray:
    """The pages of the TIFF at `path` as a volume (Z, H, W), in its type and units; values need not be finite.

    Raises:
      UserError: as `read_image`, in colour, or pages of unlike size or type.
    """
    with _opened_tiff(path) as (handle, file):
        _check_pixels(file.pages.first.imagewidth * len(file.pages), file.pages.first.imagelength)
        pages = [_grey(path, _read_page(path, handle, page.aspage())) for page in file.pages]
        if len({(page.shape, page.dtype) for page in pages}) > 1:
            raise UserError(f"{path}: its pages differ in size or type; a volume is of equal slices: split its pages")
        return np.stack(pages)


def page_count(path: pathlib.Path) -> int:
    """How many pages the TIFF at `path` has.

    Raises:
      UserError: missing or unreadable.
    """
    with _opened_tiff(path) as (_, file):
        return len(file.pages)


def _grey(path: pathlib.Path, page: np.ndarray) -> np.ndarray:
    page = _as_read(path, page)
    if page.ndim != 2:
        raise UserError(f"{path}: several pages in colour; a volume is grey: split its pages")
    return page


def _read_tiff(path: pathlib.Path) -> np.ndarray:
    """The one page of a TIFF."""
    with _opened_tiff(path) as (handle, file):
        if len(file.pages) != 1:
            raise UserError(f"{path}: {len(file.pages)} pages where one 2-D image is expected; split its pages")
        return _read_page(path, handle, file.pages.first.aspage())


def _read_page(path: pathlib.Path, handle: BinaryIO, page: tifffile.TiffPage) -> np.ndarray:
    """A page of a TIFF; planar colour is brought to channels last, a palette to RGB."""
    _check_pixels(page.imagewidth, page.imagelength)
    if page.samplesperpixel > 4 or page.imagedepth > 1:
        raise guarded.Damaged(f"{page.samplesperpixel} samples a pixel, {page.imagedepth} deep")
    _check_segments(handle, page)
    if (turn := page.tags.valueof("Orientation", 1)) != 1:
        raise UserError(f"{path}: is to be shown turned or mirrored (orientation {turn}); save it anew upright")
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
        raise UserError(f"{path}: grey values run from white to black; save it anew with black as 0")
    _check_samples(page)
    image = page.asarray()
    if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
        return (np.asarray(page.colormap)[:, image] >> 8).astype(np.uint8).transpose(1, 2, 0)
    planar = image.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1
    return np.moveaxis(image, 0, -1) if planar else image


def _check_samples(page: tifffile.TiffPage) -> None:
    """Raises Damaged where a pixel is not grey or RGB, with transparency at most."""
    kind, extra = page.photometric, page.samplesperpixel - 1
    if kind == tifffile.PHOTOMETRIC.RGB or (kind, page.compression) == JPEG_COLOUR:
        is_read = page.samplesperpixel in (3, 4)
    else:
        is_read = kind in GREY and (extra == 0 or extra == 1 and tuple(page.extrasamples)[:1] in TRANSPARENCY)
    if not is_read:
        raise guarded.Damaged(f"its {page.samplesperpixel} channels are {getattr(kind, 'name', kind)}, not grey or RGB")


def _check_pixels(width: int, height: int) -> None:
    if not 0 < width * height <= MOST_PIXELS:
        raise guarded.Damaged(f"{width}x{height} pixels; at most {MOST_PIXELS} are read")


def _check_segments(handle: BinaryIO, page: tifffile.TiffPage) -> None:
    """Raises Damaged where a compressed strip or tile becomes larger than it may be."""
    methods: dict[int, str] = {
        tifffile.COMPRESSION.ADOBE_DEFLATE: "zlib",
        tifffile.COMPRESSION.DEFLATE: "zlib",
        tifffile.COMPRESSION.LZMA: "lzma",
    }
    if page.compression not in methods and page.compression != tifffile.COMPRESSION.NONE:
        if page.compression not in (tifffile.COMPRESSION.LZW, tifffile.COMPRESSION.PACKBITS, tifffile.COMPRESSION.JPEG):
            raise guarded.Damaged("it is compressed in a way that is not read here")
        return  # these decoders stop at the size of the strip or tile
    rows = page.tilelength or min(page.rowsperstrip, page.imagelength)
    samples = page.samplesperpixel if page.planarconfig == tifffile.PLANARCONFIG.CONTIG else 1
    size = rows * -(-(page.tilewidth or page.imagewidth) * samples * page.bitspersample // 8)
    if page.compression == tifffile.COMPRESSION.NONE:
        return
    for start, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        handle.seek(start)
        decompression.check_expands(handle.read(min(length, 1 << 30)), size, methods[page.compression])


def _read_with_pillow(path: pathlib.Path, kind: str) -> np.ndarray:
    """A PNG, JPEG or BMP."""
    with guarded.open_file(path) as handle, _open_image(handle, kind) as image:
        _check_pixels(*image.size)
        if getattr(image, "n_frames", 1) != 1:
            raise UserError(f"{path}: several frames where one 2-D image is expected; split its frames")
        deep = image.tile[0].args if image.tile else None
        if isinstance(deep, str) and deep in ("RGB;16B", "RGBA;16B"):
            return _read_deep_png(handle, deep)
        if deep == "LA;16B":
            raise guarded.Damaged("grey of 16 bits with transparency is not read")
        upright = ImageOps.exif_transpose(image)  # as viewers show it, and as its partner without the note lies
        plain = {"P": "RGB", "PA": "RGB", "1": "L", "CMYK": "RGB"}
        pixels = np.asarray(upright.convert(plain[upright.mode]) if upright.mode in plain else upright)
        return pixels.astype(np.uint16) if upright.mode.startswith("I") else pixels


def _open_image(handle: BinaryIO, kind: str) -> ImageFile.ImageFile:
    try:
        return Image.open(handle, formats=[kind])
    except Image.DecompressionBombError as error:
        raise guarded.Damaged(f"more pixels than the {MOST_PIXELS} that are read") from error


def _read_deep_png(handle: BinaryIO, layout: str) -> np.ndarray:
    """16-bit colour, of which Pillow keeps the high bytes only; read as if little-endian it gives the low ones."""
    halves = []
    for order in (layout, layout[:-1] + "L"):
        handle.seek(0)
        with Image.open(handle, formats=["PNG"]) as image:
            image.tile = [tile._replace(args=order) for tile in image.tile]
            halves.append(np.asarray(image.copy(), np.uint16))
    return halves[0] * 256 + halves[1]


def _kind(path: pathlib.Path) -> str:
    """The format of a picture by its first bytes, which must be that of its ending."""
    with guarded.open_file(path) as file:
        start = file.read(8)
    found = next((kind for kind, magics in MAGICS.items() if start.startswith(magics)), None)
    wanted = ENDINGS.get(path.suffix.lower())
    if found is None or wanted is not None and found != wanted:
        raise guarded.Damaged(f"it is {found}" if found else "it is no picture of a known format")
    return found
