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
import zlib
from typing import NamedTuple

import nibabel as nib
import numpy as np
import tifffile
from PIL import Image, UnidentifiedImageError

from fusioninn_jax.runtime.errors import UserError, first_line

GEOMETRY_TOLERANCE = 0.1  # voxel; how far apart the corners of two grids said to be the same may lie
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
    image = _nifti_from_bytes(path, _read_bytes(path))
    shape = image.shape + (1,) * (ndim - len(image.shape))
    while len(shape) > ndim and shape[-1] == 1:  # some writers append axes of length 1
        shape = shape[:-1]
    if len(shape) != ndim or 0 in shape:
        raise UserError(f"{path}: {len(image.shape)}-D file of shape {image.shape} where a {ndim}-D one is expected; "
                        "give one file per modality (only MSD's imagesTr/BRATS_*.nii.gz is 4-D)")
    affine = np.asarray(image.affine, np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
        raise UserError(f"{path}: its affine cannot be inverted, so left and right are unknown; mend its header")
    return image, shape


def write_nifti(path: PathLike, volume: Volume) -> None:
    """Writes a volume in the voxel order and with the affine of the file that it came from (`file_affine`).

    Args:
      path: a `.nii` or `.nii.gz` file; it appears only once it is whole.
      volume: voxels of any real type, in LPS order.

    Raises:
      UserError: another ending.
    """
    path = pathlib.Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise UserError(f"{path}: a volume is written as .nii or .nii.gz; give it one of these endings")
    to_file = nib.orientations.ornt_transform(LPS, nib.io_orientation(volume.file_affine))
    voxels = nib.orientations.apply_orientation(volume.voxels, to_file)
    temporary = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        nib.save(nib.Nifti1Image(voxels, volume.file_affine), temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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


def read_image(path: PathLike) -> np.ndarray:
    """Reads a PNG or TIFF, 8 or 16 bits, grey or colour; a palette is resolved and transparency dropped.

    Returns:
      (H, W) grey or (H, W, 3) colour, in the type and units of the file (uint8, uint16 or float32).

    Raises:
      UserError: missing, unreadable or truncated file, another format, several pages, NaN or infinite pixels.
    """
    path = pathlib.Path(path)
    try:
        image = _read_tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _read_png(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; check the path") from error
    except (OSError, SyntaxError, ValueError, KeyError, zlib.error, UnidentifiedImageError,
            tifffile.TiffFileError) as error:
        raise UserError(f"{path}: cannot be read as an image ({first_line(error)}); save it anew as PNG or TIFF"
                        ) from error
    if image.ndim == 3 and image.shape[-1] in (2, 4):  # grey or colour with transparency
        image = image[..., 0] if image.shape[-1] == 2 else image[..., :3]
    if image.ndim != 2 and not (image.ndim == 3 and image.shape[-1] == 3):
        raise UserError(f"{path}: shape {image.shape} where one 2-D grey or colour image is expected; split its pages")
    if image.dtype not in (np.uint8, np.uint16):
        image = image.astype(np.float32)
    if not np.isfinite(image).all():
        raise UserError(f"{path}: holds NaN or infinite pixels; replace them before preparing")
    return image


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


def _read_bytes(path: pathlib.Path) -> bytes:
    """The file's content, decompressed whole where gzipped: only then does gzip verify its checksum."""
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; check the path") from error
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: truncated or corrupt ({first_line(error)}); fetch the file anew") from error


def _nifti_from_bytes(path: pathlib.Path, content: bytes) -> nib.Nifti1Image:
    try:
        kind = nib.Nifti2Image if content[:4] in (b"\x1c\x02\0\0", b"\0\0\x02\x1c") else nib.Nifti1Image
        return kind.from_bytes(content)
    except Exception as error:  # nibabel raises many kinds for a broken header, AttributeError among them
        raise UserError(f"{path}: not a readable NIfTI file ({first_line(error)}); fetch or convert it anew"
                        ) from error


def real_voxels(path: pathlib.Path, image: nib.Nifti1Image, *, scaled: bool = True) -> np.ndarray:
    """All voxels, finite: float32 with slope and intercept applied, or not `scaled`, as stored.

    Raises:
      UserError: truncated file, voxels that are not real numbers, NaN or infinite voxels.
    """
    if image.get_data_dtype().kind not in "iuf":
        raise UserError(f"{path}: voxels of type {image.get_data_dtype()}; convert it to a scalar image")
    try:
        voxels = np.asanyarray(image.dataobj if scaled else image.dataobj.get_unscaled())  # type: ignore[attr-defined]
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: truncated ({first_line(error)}); fetch the file anew") from error
    voxels = voxels.astype(np.float32) if scaled else voxels
    bad = voxels.size - int(np.isfinite(voxels).sum())
    if bad:
        raise UserError(f"{path}: {bad} NaN or infinite voxels; replace them, or leave this subject out")
    return voxels


def _read_tiff(path: pathlib.Path) -> np.ndarray:
    """One page of a TIFF; planar colour is brought to channels last."""
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        if len(file.pages) != 1:
            raise UserError(f"{path}: {len(file.pages)} pages where one 2-D image is expected; split its pages")
        image = page.asarray()
        if page.photometric == tifffile.PHOTOMETRIC.PALETTE:
            return _read_with_pillow(path)
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            raise UserError(f"{path}: grey values run from white to black; save it anew with black as 0")
    planar = image.ndim == 3 and page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and page.samplesperpixel > 1
    return np.moveaxis(image, 0, -1) if planar else image


def _read_png(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        if image.format != "PNG":
            raise ValueError(f"it is {image.format}")
        deep = image.tile[0].args if image.tile else None
    if isinstance(deep, str) and deep in ("RGB;16B", "RGBA;16B"):
        return _read_deep_png(path, deep)
    return _read_with_pillow(path)


def _read_deep_png(path: pathlib.Path, layout: str) -> np.ndarray:
    """16-bit colour, of which Pillow keeps the high bytes only; read as if little-endian it gives the low ones."""
    halves = []
    for order in (layout, layout[:-1] + "L"):
        with Image.open(path) as image:
            image.tile = [tile._replace(args=order) for tile in image.tile]
            halves.append(np.asarray(image.copy(), np.uint16))
    return halves[0] * 256 + halves[1]


def _read_with_pillow(path: pathlib.Path) -> np.ndarray:
    with Image.open(path) as image:
        if getattr(image, "n_frames", 1) != 1:
            raise UserError(f"{path}: several frames where one 2-D image is expected; split its frames")
        plain = {"P": "RGB", "PA": "RGB", "1": "L"}
        pixels = np.asarray(image.convert(plain[image.mode]) if image.mode in plain else image)
        return pixels.astype(np.uint16) if image.mode.startswith("I") else pixels
