"""NIfTI <-> Series. The header's bytes are kept, so type, byte order, slope, codes and units come back as they were."""

from __future__ import annotations

import pathlib
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy

from fusioninn_jax.formats import provenance, volume_io
from fusioninn_jax.formats.grid import from_slices, to_slices
from fusioninn_jax.formats.nifti_headers import CODED_FIELDS, Header, from_text, to_text, without_phi
from fusioninn_jax.formats.provenance import START, Provenance
from fusioninn_jax.formats.series import Series, uniform
from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError

KIND = "nifti"
COMMENT, PRIVATE = 6, 0  # codes of header extensions: text; unknown to all but its writer
OF_VALUES = ("bits", "window")  # what the origin of a DICOM series says of its own values
SHEAR_TOLERANCE = 1e-4  # cosine between two axes
ALIGNMENT = 16  # of a header extension, bytes
LARGEST_OFFSET = 2**28  # beyond it NIfTI-1's float32 offset skips multiples of 16
Extension = tuple[int, bytes]


def read(path: pathlib.Path, *, keep_phi: bool = False) -> Series:
    """A 3-D NIfTI-1/2 file, gzipped or not, of either byte order.

    What its header keeps is an allow-list (`without_phi`), unless `keep_phi`. Values need not be finite.

    Args:
      path: .nii or .nii.gz; whether it is gzipped is told from its content.
      keep_phi: keep all of the header, which may name the patient.

    Raises:
      UserError: as `volume_io.read_nifti`, or a damaged record of a fusion.
    """
    image, shape = volume_io.open_nifti(path)
    stored = volume_io.real_voxels(path, image, scaled=False).reshape(shape)
    data = cast(ArrayProxy, image.dataobj)
    header = image.header.copy()
    header.set_data_shape(shape)
    kept, is_flat = header if keep_phi else without_phi(header), len(image.shape) == 2
    series = of_voxels(stored, kept, float(data.slope), float(data.inter), is_flat)
    return series._replace(record=find_record(path, _extensions(image)))


def of_voxels(stored: np.ndarray, header: Header, slope: float, intercept: float, is_flat: bool = False) -> Series:
    """A series that is written with a header.

    Args:
      stored: (X, Y, Z) in the order of the header's affine, value = stored · slope + intercept.
      header: of NIfTI-1 or -2, with an affine that `volume_io.check_affine` lets pass; its scale is set.
      slope, intercept: finite.
      is_flat: whether the file is 2-D, and a file of the series' kind shall be.
    """
    affine = np.asarray(header.get_best_affine(), np.float64)
    voxels, slices_affine = to_slices(stored, affine)
    header["scl_slope"], header["scl_inter"] = slope, intercept  # nibabel blanks them on reading
    origin = {"kind": KIND, "header": to_text(header), "flat": is_flat}
    return uniform(np.ascontiguousarray(voxels.transpose(2, 1, 0)), slices_affine, origin, slope, intercept)


def read_channels(path: pathlib.Path) -> tuple[np.ndarray, Provenance | None]:
    """(Z, Y, X, C) float32 voxels of a 4-D file in axial slices, and the record in its header.

    Args:
      path: .nii or .nii.gz.

    Raises:
      UserError: as `volume_io.read_nifti`.
    """
    channels = volume_io.slices_first(volume_io.read_nifti(path, ndim=4))
    image, _ = volume_io.open_nifti(path, ndim=4)
    return channels, find_record(path, _extensions(image))


def extensions(path: pathlib.Path) -> list[Extension]:
    """(code, content) of each header extension.

    Args:
      path: .nii or .nii.gz.
    """
    return _extensions(volume_io.open_nifti(path)[0])


def _extensions(image: nib.Nifti1Image) -> list[Extension]:
    return [(extension.get_code(), extension.content) for extension in image.header.extensions]


def find_record(path: pathlib.Path, found: list[Extension]) -> Provenance | None:
    """The record among header extensions, None where there is none.

    Args:
      path: of the file, for messages.
      found: its header extensions.

    Raises:
      UserError: a damaged one.
    """
    for code, content in found:
        if code == COMMENT and content.startswith(START):
            return provenance.parse(path, content.rstrip(b"\0"))
    return None


def check_origin(path: pathlib.Path, origin: dict[str, Any], dtype: np.dtype) -> None:
    """Raises UserError where the header in a record is none that a series of `dtype` can be written with.

    Args:
      path: of the fused image, for the message.
      origin: of a source, as the record has it.
      dtype: of its voxels.
    """
    with guarded.reading(path, "the record of the fusion in it is damaged", "fuse anew"):
        header = from_text(origin["header"])
        affine = np.asarray(header.get_best_affine(), np.float64)
        if not volume_io.is_invertible(affine):
            raise guarded.Damaged("the affine of a source cannot be inverted")
        if header.get_data_dtype().newbyteorder("=") != dtype.newbyteorder("="):
            raise guarded.Damaged("the type of a source is not that of its header")
        if not np.isfinite([float(header["scl_slope"]), float(header["scl_inter"])]).all():
            raise guarded.Damaged("the scale of a source is none")


def adopt(origin: dict[str, Any], dtype: np.dtype, slope: float = 1, intercept: float = 0) -> dict[str, Any]:
    """The origin of a series for other voxels on its grid: of another type and scale, without free text.

    Args:
      origin: of the series that lends its grid.
      dtype: of the other voxels.
      slope: of the other voxels; likewise `intercept`.
      intercept: see there.
    """
    if origin["kind"] != KIND:
        return {key: value for key, value in origin.items() if key not in OF_VALUES}
    header = without_phi(from_text(origin["header"]))
    header.set_data_dtype(dtype)
    header["scl_slope"], header["scl_inter"] = slope, intercept
    header["cal_min"] = header["cal_max"] = 0
    return {"kind": KIND, "header": to_text(header), "flat": origin.get("flat", False)}


def header_like(series: Series, dtype: np.dtype, slope: float = 1, intercept: float = 0) -> Header:
    """A header of the given type and scale on the grid of a series, without free text.

    A series that came from NIfTI lends its geometry: voxel order, both affines and their codes, units.

    Args:
      series: lends its grid.
      dtype: of the voxels that the header is for.
      slope: of those voxels; likewise `intercept`.
      intercept: see there.
    """
    if series.origin["kind"] == KIND:
        return from_text(adopt(series.origin, dtype, slope, intercept)["header"])
    header = nib.Nifti1Header(endianness="<")
    header.set_data_shape(series.stored.shape[::-1])
    header.set_data_dtype(dtype)
    columns = series.affine[:3, :3] / np.linalg.norm(series.affine[:3, :3], axis=0)
    is_sheared = np.abs(columns.T @ columns - np.eye(3)).max() > SHEAR_TOLERANCE
    header.set_qform(series.affine, 0 if is_sheared else 1)  # a tilted gantry: no rotation can say it
    if is_sheared:
        for field in CODED_FIELDS["qform_code"]:
            header[field] = 0
    header.set_sform(series.affine, 1)
    header.set_xyzt_units("mm")
    header["scl_slope"], header["scl_inter"] = slope, intercept
    return header


def write_series(path: pathlib.Path, series: Series, found: list[Extension] | None = None) -> None:
    """Writes a series: with its own header where it came from NIfTI, else with a fresh one.

    Args:
      path: ends in .nii or .nii.gz.
      series: what is written.
      found: header extensions.

    Raises:
      UserError: as `series_bytes`.
    """
    _write_bytes(path, series_bytes(path, series, found or []))


def series_bytes(path: pathlib.Path, series: Series, found: list[Extension]) -> bytes:
    """What `write_series` writes, before it is gzipped; the voxels come last.

    Args:
      path: where it will be written, for messages.
      series: what is written.
      found: header extensions.

    Raises:
      UserError: slices of different slopes, which a NIfTI file cannot hold.
    """
    if np.ptp(series.slope) or np.ptp(series.intercept):
        raise UserError(
            f"{path}: the slices of this series differ in rescale slope, which NIfTI cannot hold; write "
            "DICOM: give a folder"
        )
    if series.origin["kind"] == KIND:
        header, is_flat = from_text(series.origin["header"]), series.origin.get("flat", False)
    else:
        header, is_flat = header_like(series, series.stored.dtype, series.slope[0], series.intercept[0]), False
    return _bytes(path, header, series.stored, found, is_flat)


def write(path: pathlib.Path, header: Header, voxels: np.ndarray, found: list[Extension]) -> None:
    """Writes (Z, Y, X[, C]) axial slices in the voxel order and byte order of a header, as they are.

    Args:
      path: ends in .nii or .nii.gz.
      header: its type and scale are written as they stand; its shape is set.
      voxels: stored values.
      found: header extensions.
    """
    _write_bytes(path, _bytes(path, header, voxels, found))


def _bytes(
    path: pathlib.Path, header: Header, voxels: np.ndarray, found: list[Extension], is_flat: bool = False
) -> bytes:
    """A file; a 2-D one where `is_flat`, unless there are several slices."""
    turned = from_slices(np.swapaxes(voxels, 0, 2), header.get_best_affine())
    scale = float(header["scl_slope"]), float(header["scl_inter"])
    header = header.copy()
    header.set_data_shape(turned.shape)
    if is_flat and turned.shape[2:] == (1,):
        header["dim"][0] = 2  # nibabel, told a 2-D shape, resets the thickness
    header["scl_slope"], header["scl_inter"] = scale
    block = b"".join(_extension(header.endianness, *item) for item in found)
    offset = len(header.binaryblock) + 4 + len(block)
    if offset > LARGEST_OFFSET:
        raise UserError(f"{path}: {offset / 1e6:.0f} MB before the voxels are more than NIfTI can hold; archive parts")
    header["vox_offset"] = offset
    header["magic"] = header.single_magic
    return b"".join(
        [
            header.binaryblock,
            bytes([bool(block), 0, 0, 0]),
            block,
            turned.astype(header.get_data_dtype()).tobytes(order="F"),
        ]
    )


def _write_bytes(path: pathlib.Path, content: bytes) -> None:
    path.write_bytes(volume_io.gzipped(content) if path.name.lower().endswith(".gz") else content)


def _extension(endianness: str, code: int, content: bytes) -> bytes:
    size = -(-(8 + len(content)) // ALIGNMENT) * ALIGNMENT
    return np.array([size, code], f"{endianness}i4").tobytes() + content.ljust(size - 8, b"\0")
