"""Series by file name: which format a path means, for reading, for writing, and how a fused image is stored in it."""

from __future__ import annotations

import os
import pathlib
import sys
from typing import NamedTuple

import numpy as np

from fusioninn_jax.formats import dicom, dicom_writer, images, nifti, provenance, read_only_volumes
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series, check_values, with_background
from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError

NIFTI_ENDINGS = (".nii", ".nii.gz")
READ_ONLY = "volume"
LOSSY = (".jpg", ".jpeg", ".bmp")  # read only
KNOWN = ".nii, .nii.gz, .mgz, .hdr/.img, .png, .tif, .tiff, .jpg, .bmp, .npy, or the folder of a DICOM series"


class Storage(NamedTuple):
    """How a fused image is stored: value = stored · slope + intercept; `takes_colour`: in colours where a source is."""

    dtype: np.dtype
    slope: float = 1.0
    intercept: float = 0.0
    takes_colour: bool = False


FLOAT = Storage(np.dtype(np.float32))
# A raw fused image leaves [0, 1] by some hundredths: these hold [-0.5, 1.5), in levels exact in float32 and decimals.
SIGNED = Storage(np.dtype(np.int16), 2.0**-15, 0.5)
UNSIGNED = Storage(np.dtype(np.uint16), 2.0**-15, -0.5)
GREY = Storage(np.dtype(np.uint16), 1 / 65535, takes_colour=True)  # black 0, white 1, as viewers of pictures expect


def is_nifti(path: pathlib.Path) -> bool:
    """Whether the name says NIfTI.

    Args:
      path: of a file, which need not exist.
    """
    return path.name.lower().endswith(NIFTI_ENDINGS)


def is_dicom(path: pathlib.Path) -> bool:
    """Whether a path is the folder, or a file, of a DICOM series, by its name.

    Args:
      path: of a file or folder, which need not exist.
    """
    return not is_nifti(path) and (os.path.isdir(path) or path.suffix.lower() in (".dcm", ".ima"))


def _format(path: pathlib.Path) -> str:
    """`nifti`; `volume`: read only; a picture's ending; or `dicom`: a folder, or a name without ending or with .dcm."""
    if is_nifti(path):
        return nifti.KIND
    if read_only_volumes.is_one(path):
        return READ_ONLY
    if path.suffix.lower() in images.ENDINGS:
        return path.suffix.lower()
    if os.path.isdir(path) or path.suffix.lower() in ("", ".dcm", ".ima"):
        return dicom.KIND
    raise UserError(f"{path}: of no known format; give {KNOWN}")


def storage(output: pathlib.Path, first: Series) -> Storage:
    """How a fused image is stored in the format of `output`; integers where the first source holds integers.

    Args:
      output: where the image will be written; its ending tells the format.
      first: the first source of the study.
    """
    kind = _format(output)
    if kind == dicom.KIND:
        return UNSIGNED
    is_float = (np.dtype(first.chroma.dtype) if first.chroma else first.stored.dtype).kind == "f"
    if kind == ".png" or kind in (".tif", ".tiff") and (first.chroma is not None or not is_float):
        return GREY
    return SIGNED if kind == nifti.KIND and not is_float else FLOAT


def check_output(output: pathlib.Path) -> None:
    """Raises UserError for a name of no format that can be written.

    Args:
      output: where something is to be written.
    """
    if output.suffix.lower() in LOSSY:
        raise UserError(
            f"{output}: {output.suffix} is read, not written: it loses what the fused image hides; write .png or .tif"
        )
    if _format(output) == READ_ONLY:
        raise UserError(f"{output}: {output.suffix} is read, not written; write .nii.gz")
    if _format(output) == dicom.KIND and output.suffix:
        raise UserError(f"{output}: DICOM is written as a folder, one file a slice; give a name without ending")


def is_own_folder(folder: pathlib.Path) -> bool:
    """Whether a folder is a DICOM series that this package wrote, holds nothing else, and has the name of one.

    Args:
      folder: any path.
    """
    return not is_nifti(folder) and folder.suffix.lower() not in images.ENDINGS and dicom.is_own(folder)


def read(path: pathlib.Path, *, keep_phi: bool = False, fill_value: float | None = None) -> Series:
    """A series from a file or the folder of a DICOM series; its scaled values are finite in float32.

    Args:
      path: the file or folder.
      keep_phi: keep what may name the patient.
      fill_value: a value that marks missing voxels, which become background; NaN for all that are not finite.

    Raises:
      UserError: missing, unreadable, of no known format, or with values that cannot be computed with.
    """
    guarded.check_there(path)
    kind = _format(path)
    with guarded.reading(path, "cannot be read", "fetch it, or save it, anew"):
        if kind == nifti.KIND:
            series = nifti.read(path, keep_phi=keep_phi)
        elif kind == READ_ONLY:
            series = read_only_volumes.read(path)
        else:
            series = dicom.read(path, keep_phi=keep_phi) if kind == dicom.KIND else images.read(path)
    if fill_value is not None:
        marked = with_background(series, fill_value)
        if marked is series:
            print(f"{path}: no voxel, or each, is {fill_value:g}; none is taken for missing", file=sys.stderr)
        series = marked
    check_values(series, str(path))
    return series


def check_origin(path: pathlib.Path, source: Series) -> None:
    """Raises UserError where a source that a record tells of could not be written; the record lies in `path`.

    Args:
      path: of the fused image, for the message.
      source: what it says of one of its sources.
    """
    if source.origin["kind"] == nifti.KIND:
        nifti.check_origin(path, source.origin, source.stored.dtype)


def write(path: pathlib.Path, name: pathlib.Path, series: Series, record: Provenance | None = None) -> None:
    """Writes a series, and the record where it is a fused image, to `path` in the format that `name` says.

    Args:
      path: where the content goes, often a temporary name.
      name: what it will be called; its ending tells the format.
      series: what is written.
      record: the provenance of a fused image.

    Raises:
      UserError: the format cannot hold the series.
    """
    kind = _format(name)
    if kind in (nifti.KIND, dicom.KIND):
        images.tell_grey(name, series)
    with guarded.quiet():
        if kind == nifti.KIND:
            nifti.write_series(path, series, [(nifti.COMMENT, provenance.text(record))] if record else [])
        elif kind == dicom.KIND:
            dicom_writer.write(path, name, series, record)
        else:
            images.write(path, name, series, record)
