"""Medical and ordinary image files <-> NumPy arrays; geometry and intensities are kept as they are.

Volumes are brought to LPS voxel order (x grows to the patient's left, y to the back, z to the head) by flips and
permutations alone, so no voxel is interpolated. An axial slice is `image[y, x]`: row 0 is anterior and column 0 is
the patient's right, as radiologists look at it. Intensities stay in the units of the file (slope and intercept
applied); nothing is normalised here.
"""
from __future__ import annotations

import gzip
import os
import pathlib
import struct
import zlib
from typing import Any, BinaryIO, NamedTuple

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image, ImageFile

from fusioninn_jax.runtime import decompression, guarded, outputs
from fusioninn_jax.runtime.errors import UserError

GEOMETRY_TOLERANCE = 0.1  # voxel; how far apart the corners of two grids said to be the same may lie
LARGEST = float(np.finfo(np.float32).max) / 4  # of a value: differences of two stay finite
SMALLEST_VOXEL = 1e-9  # cubic millimetres
MOST_PIXELS = 178_956_970  # of a picture; Pillow's own bound
ENDINGS = {".png": "PNG", ".tif": "TIFF", ".tiff": "TIFF", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP"}
MAGICS: dict[str, Any] = {"PNG": b"\x89PNG\r\n\x1a\n", "TIFF": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
                          "JPEG": b"\xff\xd8\xff", "BMP": b"BM"}
LPS = nib.orientations.axcodes2ornt("LPS")
PathLike = str | os.PathLike[str]


class Volume(NamedTuple):
    """A volume in LPS voxel order.

    Attributes:
      voxels: (X, Y, Z) or (X, Y, Z, C) in the units of the file.
      affine: (4, 4), voxel indices of `voxels` to millimetres in NIfTI's RAS+ world.
      file_affine: (4, 4), the affine of the file, for writing a result back in the file's own voxel order.
    """
    voxels: np.ndarray
    affine: np.ndarray
    file_affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along x, y and z."""
        x, y, z = np.sqrt((self.affine[:3, :3] ** 2).sum(axis=0))
        return float(x), float(y), float(z)


def read_nifti(path: PathLike, ndim: int = 3) -> Volume:
    """Reads a NIfTI-1/2 file, gzipped or not.

    Args:
      path: the file; whether it is gzipped is told from its content, and a gzip checksum is verified.
      ndim: 3, or 4 for a file that holds one channel per modality.

    Returns:
      The volume in LPS order, voxels float32.

    Raises:
      UserError: missing, truncated or corrupt file, other dimensions, voxels that are not real numbers, NaN or
        infinite voxels, an affine that cannot be inverted.
    """
    path = pathlib.Path(path)
    image, shape = open_nifti(path, ndim)
    affine = np.asarray(image.affine, np.float64)
    voxels = real_voxels(path, image).reshape(shape)
    to_lps = nib.orientations.ornt_transform(nib.io_orientation(affine), LPS)
    lps_affine = affine @ nib.orientations.inv_ornt_aff(to_lps, shape[:3])
    return Volume(np.ascontiguousarray(nib.orientations.apply_orientation(voxels, to_lps)), lps_affine, affine)


def open_nifti(path: pathlib.Path, ndim: int = 3) -> tuple[nib.Nifti1Image, tuple[int, ...]]:
    """A NIfTI file, decompressed, its header checked, and its shape with `ndim` axes; voxels are read later.

    Raises:
      UserError: missing, truncated or corrupt file, other dimensions, an affine that cannot be inverted.
    """
    image = _read_nifti(path)
    shape = image.shape + (1,) * (ndim - len(image.shape))
    while len(shape) > ndim and shape[-1] == 1:  # some writers append axes of length 1
        shape = shape[:-1]
    if len(shape) != ndim or 0 in shape:
        raise UserError(f"{path}: {len(image.shape)}-D file of shape {image.shape} where a {ndim}-D one is expected; "
                        "give one file per modality (only MSD's imagesTr/BRATS_*.nii.gz is 4-D)")
    affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < SMALLEST_VOXEL:
        raise UserError(f"{path}: its affine cannot be inverted, so left and right are unknown; mend its header")
    return image, shape


def encode_deep_png(rgb: np.ndarray, texts: dict[str, str]) -> bytes:
    """(H, W, 3) uint16 colours as a PNG, which Pillow cannot write (ISO/IEC 15948)."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = np.ascontiguousarray(rgb, ">u2").view(np.uint8).reshape(len(rgb), -1)
    up = np.diff(rows, axis=0, prepend=np.zeros_like(rows[:1]))  # modulo 256: filter 2, the difference to the row above
    filtered = np.concatenate([np.full((len(rows), 1), 2, np.uint8), up], axis=1)
    head = struct.pack(">IIBBBBB", rgb.shape[1], rgb.shape[0], 16, 2, 0, 0, 0)
    notes = [chunk(b"tEXt", key.encode("latin-1") + b"\0" + text.encode("latin-1")) for key, text in texts.items()]
    return b"".join([MAGICS["PNG"], chunk(b"IHDR", head), *notes, chunk(b"IDAT", zlib.compress(filtered.tobytes())),
                     chunk(b"IEND", b"")])


def write_nifti(path: PathLike, volume: Volume) -> None:
    """Writes a volume in the voxel order and with the affine of the file that it came from (`file_affine`).

    Args:
      path: a `.nii` or `.nii.gz` file; it appears only once it is whole.
      volume: voxels of any real type, in LPS order.

    Raises:
      UserError: another ending.
    """
    path = pathlib.Path(path)
    if not path.name.lower().endswith((".nii", ".nii.gz")):
        raise UserError(f"{path}: a volume is written as .nii or .nii.gz; give it one of these endings")
    to_file = nib.orientations.ornt_transform(LPS, nib.io_orientation(volume.file_affine))
    voxels = nib.orientations.apply_orientation(volume.voxels, to_file)
    with outputs.new_files(path) as (temporary,):
        content = nib.Nifti1Image(voxels, volume.file_affine).to_bytes()
        temporary.write_bytes(gzip.compress(content, mtime=0) if path.suffix.lower() == ".gz" else content)


def axial_slices(volume: Volume) -> np.ndarray:
    """(X, Y, Z[, C]) voxels as (Z, Y, X[, C]) axial slices: rows run to the back, columns to the patient's left."""
    return np.swapaxes(volume.voxels, 0, 2)


def check_same_grid(first: Volume, second: Volume, first_name: str, second_name: str) -> None:
    """Raises `UserError` unless two volumes have one shape and grids whose corners lie within 0.1 voxel."""
    if first.voxels.shape[:3] != second.voxels.shape[:3]:
        raise UserError(f"{second_name}: shape {second.voxels.shape[:3]} differs from {first.voxels.shape[:3]} of "
                        f"{first_name}; co-register the images and resample them to one grid")
    corners = np.array([(*index, 1.0) for index in np.ndindex(2, 2, 2)])
    corners[:, :3] *= np.array(first.voxels.shape[:3]) - 1
    apart = np.linalg.norm(corners @ (first.affine - second.affine).T, axis=1).max()
    if apart > GEOMETRY_TOLERANCE * min(first.spacing):
        raise UserError(f"{second_name}: its affine puts the volume up to {apart:.3g} mm away from {first_name}; "
                        "co-register the images and resample them to one grid")


def read_image(path: PathLike, *, finite: bool = True) -> np.ndarray:
    """Reads a PNG, TIFF, JPEG or BMP, 8 or 16 bits, grey or colour; transparency is dropped.

    Grey that is stored as colour or with a palette (three equal channels) is grey.

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
    if image.ndim == 3 and image.shape[-1] in (2, 4):  # grey or colour with transparency
        image = image[..., 0] if image.shape[-1] == 2 else image[..., :3]
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[-1] == 3) or image.dtype.kind not in "iuf":
        raise UserError(f"{path}: shape {image.shape} where one 2-D grey or colour image is expected; split its pages")
    if image.dtype not in (np.uint8, np.uint16):
        with np.errstate(over="ignore"):
            image = image.astype(np.float32)
    if finite and not (np.abs(image) <= LARGEST).all():
        raise UserError(f"{path}: holds NaN or infinite pixels; replace them before preparing")
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


def _declared_size(head: bytes) -> int:
    """Bytes of the NIfTI file that starts with these: up to the last voxel."""
    header = _header(head)
    shape, offset = header.get_data_shape(), float(header["vox_offset"])
    if not np.isfinite(offset) or min(shape, default=0) < 0:
        raise guarded.Damaged("its header declares no size")
    voxels = int(np.prod(shape, dtype=object)) * header.get_data_dtype().itemsize
    return max(int(offset), _header_length(head) + 4) + voxels


def _header(content: bytes) -> Any:
    kind = nib.Nifti2Header if _is_nifti2(content) else nib.Nifti1Header
    return kind(content[:_header_length(content)], check=False)


def _is_nifti2(head: bytes) -> bool:
    return head[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c")


def _header_length(head: bytes) -> int:
    return nib.Nifti2Header.sizeof_hdr if _is_nifti2(head) else nib.Nifti1Header.sizeof_hdr


def _read_nifti(path: pathlib.Path) -> nib.Nifti1Image:
    """A NIfTI file, no more of it held than its header declares."""
    def declared(head: bytes) -> int:
        try:
            return _declared_size(head)
        except Exception:  # not a header: said below, together with what nibabel has against it
            return 0

    content = guarded.read_declared(path, nib.Nifti2Header.sizeof_hdr, declared)
    with guarded.reading(path, "not a readable NIfTI file", "fetch or convert it anew"):
        size = _declared_size(content)
        slope = float(_header(content)["scl_slope"])
        if np.isinf(slope):  # nibabel takes it for none; NaN is what nibabel writes for none
            raise guarded.Damaged(f"its slope is {slope}")
        image = (nib.Nifti2Image if _is_nifti2(content) else nib.Nifti1Image).from_bytes(content)
        if len(content) < size:
            raise UserError(f"{path}: truncated ({len(content)} of {size} bytes); fetch the file anew")
        return image


def real_voxels(path: pathlib.Path, image: nib.Nifti1Image, *, scaled: bool = True) -> np.ndarray:
    """All voxels: finite float32 with slope and intercept applied; or not `scaled`, as stored and perhaps not finite.

    Raises:
      UserError: truncated file, voxels that are not real numbers, NaN or infinite voxels.
    """
    if image.get_data_dtype().kind not in "iuf":
        raise UserError(f"{path}: voxels of type {image.get_data_dtype()}; convert it to a scalar image")
    data: Any = image.dataobj
    if not np.isfinite([data.slope, data.inter]).all():
        raise UserError(f"{path}: slope {data.slope} and intercept {data.inter} are no scale; mend its header")
    with guarded.reading(path, "truncated", "fetch the file anew"):
        voxels = np.asanyarray(data if scaled else data.get_unscaled())
    if not scaled:
        return voxels
    with np.errstate(over="ignore"):
        voxels = voxels.astype(np.float32)
    bad = voxels.size - int((np.abs(voxels) <= LARGEST).sum())
    if bad:
        raise UserError(f"{path}: {bad} NaN or infinite voxels, or larger than {LARGEST:.2g}; replace them, or "
                        "leave this subject out")
    return voxels


def _read_tiff(path: pathlib.Path) -> np.ndarray:
    """One page of a TIFF; planar colour is brought to channels last, a palette to RGB."""
    with guarded.open_file(path) as handle, tifffile.TiffFile(handle) as file:
        page: Any = file.pages.first
        if len(file.pages) != 1:
            raise UserError(f"{path}: {len(file.pages)} pages where one 2-D image is expected; split its pages")
        _check_pixels(page.imagewidth, page.imagelength)
        if page.samplesperpixel > 4 or page.imagedepth > 1:
            raise guarded.Damaged(f"{page.samplesperpixel} samples a pixel, {page.imagedepth} deep")
        _check_segments(handle, page)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise UserError(f"{path}: grey values run from white to black; save it anew with black as 0")
        image = page.asarray()
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            return (np.asarray(page.colormap)[:, image] >> 8).astype(np.uint8).transpose(1, 2, 0)
    planar = image.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1
    return np.moveaxis(image, 0, -1) if planar else image


def _check_pixels(width: int, height: int) -> None:
    if not 0 < width * height <= MOST_PIXELS:
        raise guarded.Damaged(f"{width}x{height} pixels; at most {MOST_PIXELS} are read")


def _check_segments(handle: BinaryIO, page: Any) -> None:
    """Raises Damaged where a compressed strip or tile becomes larger than it may be."""
    methods = {tifffile.COMPRESSION.ADOBE_DEFLATE: "zlib", tifffile.COMPRESSION.DEFLATE: "zlib",
               tifffile.COMPRESSION.LZMA: "lzma"}
    if page.compression not in methods and page.compression != tifffile.COMPRESSION.NONE:
        if page.compression not in (tifffile.COMPRESSION.LZW, tifffile.COMPRESSION.PACKBITS,
                                    tifffile.COMPRESSION.JPEG):
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
        plain = {"P": "RGB", "PA": "RGB", "1": "L", "CMYK": "RGB"}
        pixels = np.asarray(image.convert(plain[image.mode]) if image.mode in plain else image)
        return pixels.astype(np.uint16) if image.mode.startswith("I") else pixels


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
