"""What is kept of a NIfTI header: all that places and scales the voxels, nothing that may name the patient."""

from __future__ import annotations

import base64

import nibabel as nib
import numpy as np

Header = nib.Nifti1Header  # that of NIfTI-2 is a subclass
KEPT_FIELDS = (
    "sizeof_hdr",
    "dim_info",
    "dim",
    "intent_code",
    "datatype",
    "bitpix",
    "pixdim",
    "vox_offset",
    "scl_slope",
    "scl_inter",
    "cal_max",
    "cal_min",
    "xyzt_units",
    "qform_code",
    "sform_code",
    "magic",
)
CODED_FIELDS = {
    "qform_code": ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    "sform_code": ("srow_x", "srow_y", "srow_z"),
}
KNOWN_CODES = {  # other numbers in these fields may be letters
    "dim_info": range(64),  # three axes of two bits each
    "intent_code": nib.nifti1.intent_codes.value_set(),
    "xyzt_units": range(64),  # of space in three bits, of time in three
}


def without_phi(header: Header) -> Header:
    """A copy of a header with nothing but geometry, type, scale, display range and their codes: an allow-list.

    Free text, fields that no reader looks at, and fields that their code says are unused may hold anything.

    Args:
      header: a nibabel NIfTI-1 or NIfTI-2 header.
    """
    clean = type(header)(endianness=header.endianness)
    for field in KEPT_FIELDS:
        clean[field] = header[field]
    for field, known in KNOWN_CODES.items():
        if int(clean[field]) not in known:
            clean[field] = 0
    for code, fields in CODED_FIELDS.items():
        if header[code] > 0:
            for field in fields:
                clean[field] = header[field]
    unused = np.arange(8) > max(3, int(header["dim"][0]))
    clean["pixdim"][unused & ~np.isin(header["pixdim"], (0, 1))] = 0
    clean["dim"][unused] = 1
    return clean


def to_text(header: Header) -> str:
    """The bytes of a header as base64, for a record.

    Args:
      header: a nibabel NIfTI-1 or NIfTI-2 header.
    """
    return base64.b64encode(header.binaryblock).decode()


def from_text(kept: str) -> Header:
    """Undoes `to_text`.

    Args:
      kept: base64 of a NIfTI-1 or NIfTI-2 header.
    """
    content = base64.b64decode(kept)
    return (nib.Nifti1Header if len(content) == 348 else nib.Nifti2Header)(content)
