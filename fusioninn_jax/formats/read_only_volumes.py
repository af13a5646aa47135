"""FreeSurfer's .mgh and .mgz, and pairs of .hdr and .img (NIfTI, Analyze 7.5) -> Series; read, never written.

A series of them goes on as a NIfTI one, and is written as NIfTI. Analyze files say nothing of left and right: they are
taken as stored from right to left, as SPM and nibabel do, which is told.
"""

from __future__ import annotations

import io
import pathlib
import sys
from typing import cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import SpatialImage

from fusioninn_jax.formats import nifti, volume_io
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError

MGH = (".mgz", ".mgh")
PAIRS = (".hdr", ".img", ".hdr.gz", ".img.gz")
ENDINGS = (*MGH, *PAIRS)
MGH_HEAD, MGH_VOXELS, MGH_END = 284, 284, 1 << 20  # bytes: header; where voxels begin; room for what follows them
PAIR_HEAD = 540  # bytes of the longer header, NIfTI-2's


def is_one(path: pathlib.Path) -> bool:
    """Whether the name of `path` says so."""
    return path.name.lower().endswith(ENDINGS)


def read(path: pathlib.Path) -> Series:
    """The volume at `path` with its type, scale and affine, as a series that is written as NIfTI.

    Raises:
      UserError: missing, truncated or damaged, a header without its image or the other way round, no 3-D volume, an
        affine that cannot be inverted.
    """
    name = path.name.lower()
    with guarded.reading(path, f"not a readable {name[name.index('.') :]} file", "fetch or convert it anew"):
        return _as_series(path, _read_mgh(path) if name.endswith(MGH) else _read_pair(path))


def _read_mgh(path: pathlib.Path) -> SpatialImage:
    def declared(head: bytes) -> int:
        try:
            header = nib.freesurfer.MGHImage.header_class.from_fileobj(io.BytesIO(head), check=False)
        except Exception:  # no header: said below, together with what nibabel has against it
            return 0
        return MGH_VOXELS + _bytes(header.get_data_shape(), header.get_data_dtype()) + MGH_END

    content = guarded.read_declared(path, MGH_HEAD, declared)
    if len(content) < declared(content) - MGH_END:
        raise guarded.Damaged(f"it ends after {len(content)} of {declared(content) - MGH_END} bytes")
    return nib.freesurfer.MGHImage.from_bytes(content)


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return int(np.prod(shape, dtype=object)) * dtype.itemsize


def _read_pair(path: pathlib.Path) -> SpatialImage:
    head, voxels = _partner(path, ".hdr"), _partner(path, ".img")
    start = guarded.read_declared(head, PAIR_HEAD, lambda content: PAIR_HEAD)
    kind: type[nib.Nifti1Pair] | type[nib.Spm2AnalyzeImage] | None = next(
        (kind for kind in (nib.Nifti1Pair, nib.Nifti2Pair) if kind.header_class.may_contain_header(start)), None
    )
    if kind is None:
        kind = nib.Spm2AnalyzeImage
        print(f"{path}: Analyze says nothing of left and right; taken as stored from right to left", file=sys.stderr)
    start = start[: kind.header_class.sizeof_hdr] + bytes(4)  # no extensions, which may name the patient
    header = kind.header_class.from_fileobj(io.BytesIO(start), check=False)
    size = int(header.get_data_offset()) + _bytes(header.get_data_shape(), header.get_data_dtype())
    content = guarded.read_declared(voxels, 0, lambda _: size)
    if len(content) < size:
        raise UserError(f"{voxels}: truncated ({len(content)} of {size} bytes); fetch the file anew")
    holders = {"header": start, "image": content, "mat": b""}  # SPM's orientation file is not read
    return kind.from_file_map({name: nib.FileHolder(fileobj=io.BytesIO(held)) for name, held in holders.items()})


def _partner(path: pathlib.Path, ending: str) -> pathlib.Path:
    """The file of this ending, .gz or not, that goes with a .hdr or .img."""
    stem = path.name[: path.name.lower().rindex(".hdr" if ".hdr" in path.name.lower()[-7:] else ".img")]
    for candidate in (ending, ending + ".gz", ending.upper()):
        if (path.parent / (stem + candidate)).exists():
            return path.parent / (stem + candidate)
    raise UserError(f"{path}: its {stem}{ending} is missing; put both files of the pair into one folder")


def _as_series(path: pathlib.Path, image: SpatialImage) -> Series:
    """The same voxels, type, scale and affine as a series of NIfTI.

    Raises:
      UserError: not a 3-D volume of real numbers, or an affine that cannot be inverted.
    """
    data = cast(ArrayProxy, image.dataobj)
    shape = image.shape[:3] if image.shape[3:] in ((), (1,)) else image.shape
    if len(shape) != 3 or 0 in shape or data.dtype.kind not in "iuf":
        raise UserError(f"{path}: a {data.dtype.name} file of shape {image.shape} where a 3-D volume is expected")
    volume_io.check_affine(path, np.asarray(image.affine, np.float64))
    stored = np.asarray(data.get_unscaled()).reshape(shape)
    header = nib.Nifti1Image(stored.astype(stored.dtype.newbyteorder("=")), image.affine, dtype=stored.dtype).header
    header.set_xyzt_units("mm")
    return nifti.of_voxels(stored, header, float(data.slope), float(data.inter))
