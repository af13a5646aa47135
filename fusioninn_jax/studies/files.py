"""Series by file name: which format a path means, for reading and for writing."""
from __future__ import annotations

import pathlib

from fusioninn_jax.errors import UserError
from fusioninn_jax.studies import nifti
from fusioninn_jax.studies import record as records
from fusioninn_jax.studies.record import Record
from fusioninn_jax.studies.series import Series

NIFTI_ENDINGS = (".nii", ".nii.gz")


def is_nifti(path: pathlib.Path) -> bool:
    """Whether the name says NIfTI."""
    return path.name.lower().endswith(NIFTI_ENDINGS)


def read(path: pathlib.Path, *, keep_phi: bool = False) -> Series:
    """A series from a file or, DICOM, a folder.

    Raises:
      UserError: missing, unreadable, or of no known format.
    """
    if is_nifti(path):
        return nifti.read(path, keep_phi=keep_phi)
    raise UserError(f"{path}: of no known format; give NIfTI")


def write(path: pathlib.Path, name: pathlib.Path, series: Series, record: Record | None = None) -> None:
    """Writes a series, and the record where it is a fused image, to `path` in the format that `name` says."""
    if is_nifti(name):
        found = [(nifti.COMMENT, records.text(record))] if record else []
        nifti.write_series(path, series, found)
    else:
        raise UserError(f"{name}: of no known format")
