"""Series by file name: which format a path means, for reading, for writing, and how a fused image is stored in it."""
from __future__ import annotations

import pathlib
from typing import NamedTuple

import numpy as np

from fusioninn_jax.formats import dicom, dicom_writer, images, nifti, provenance
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime.errors import UserError

NIFTI_ENDINGS = (".nii", ".nii.gz")
KNOWN = ".nii, .nii.gz, .png, .tif, .tiff, .npy, or the folder of a DICOM series"


class Storage(NamedTuple):
    """How a fused image is stored: value = stored · slope + intercept."""
    dtype: np.dtype
    slope: float = 1.0
    intercept: float = 0.0


FLOAT = Storage(np.dtype(np.float32))
# A raw fused image leaves [0, 1] by some hundredths: these hold [-0.5, 1.5), in levels exact in float32 and decimals.
SIGNED = Storage(np.dtype(np.int16), 2.0**-15, 0.5)
UNSIGNED = Storage(np.dtype(np.uint16), 2.0**-15, -0.5)
GREY = Storage(np.dtype(np.uint16), 1 / 65535)  # black 0, white 1, as viewers of pictures expect


def is_nifti(path: pathlib.Path) -> bool:
    """Whether the name says NIfTI."""
    return path.name.lower().endswith(NIFTI_ENDINGS)


def is_dicom(path: pathlib.Path) -> bool:
    """Whether a path is the folder, or a file, of a DICOM series, by its name."""
    return not is_nifti(path) and (path.is_dir() or path.suffix.lower() in (".dcm", ".ima"))


def _format(path: pathlib.Path) -> str:
    """`nifti`, a picture's ending, or `dicom` for a folder or a name without ending or with .dcm."""
    if is_nifti(path):
        return nifti.KIND
    if path.suffix.lower() in images.ENDINGS:
        return path.suffix.lower()
    if path.is_dir() or path.suffix.lower() in ("", ".dcm", ".ima"):
        return dicom.KIND
    raise UserError(f"{path}: of no known format; give {KNOWN}")


def storage(output: pathlib.Path, first: Series) -> Storage:
    """How a fused image is stored in the format of `output`; integers where the first source holds integers."""
    kind = _format(output)
    if kind == dicom.KIND:
        return UNSIGNED
    if kind == ".png" or kind in (".tif", ".tiff") and first.stored.dtype.kind != "f":
        return GREY
    return SIGNED if kind == nifti.KIND and first.stored.dtype.kind != "f" else FLOAT


def check_output(output: pathlib.Path) -> None:
    """Raises UserError for a name of no format that can be written."""
    if _format(output) == dicom.KIND and output.suffix:
        raise UserError(f"{output}: DICOM is written as a folder, one file a slice; give a name without ending")


def read(path: pathlib.Path, *, keep_phi: bool = False) -> Series:
    """A series from a file or the folder of a DICOM series.

    Raises:
      UserError: missing, unreadable, or of no known format.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; check the path")
    kind = _format(path)
    if kind == nifti.KIND:
        return nifti.read(path, keep_phi=keep_phi)
    return dicom.read(path, keep_phi=keep_phi) if kind == dicom.KIND else images.read(path)


def write(path: pathlib.Path, name: pathlib.Path, series: Series, record: Provenance | None = None) -> None:
    """Writes a series, and the record where it is a fused image, to `path` in the format that `name` says.

    Raises:
      UserError: the format cannot hold the series.
    """
    kind = _format(name)
    if kind == nifti.KIND:
        nifti.write_series(path, series, [(nifti.COMMENT, provenance.text(record))] if record else [])
    elif kind == dicom.KIND:
        dicom_writer.write(path, name, series, record)
    else:
        images.write(path, name, series, record)
