"""The authors' HDF5 files -> arrays: one dataset, `data`, of slices."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np

from fusioninn_jax.formats.image_io import LARGEST, PathLike
from fusioninn_jax.runtime import decompression, guarded
from fusioninn_jax.runtime.errors import UserError

FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}  # that are read
CHECKSUM = 4  # bytes of FLETCHER32


def hdf5_length(path: PathLike, shape: tuple[int, ...]) -> int:
    """The number N of items in the dataset `data` of the HDF5 file at `path`, which must be (N, *`shape`) of numbers.

    Raises:
      UserError: missing or unreadable file, no dataset `data`, another shape.
    """
    with (
        _open_hdf5(pathlib.Path(path)) as file,
        guarded.reading(pathlib.Path(path), "not readable HDF5", "fetch the file anew"),
    ):
        data = _data(pathlib.Path(path), file)
        if data.shape[1:] != shape or data.dtype.kind not in "iuf":
            raise UserError(
                f"{path}: 'data' is {data.dtype.name} of shape {data.shape} where numbers of shape "
                f"(N, {', '.join(map(str, shape))}) are expected; use the authors' files as published"
            )
        return int(data.shape[0])


def read_hdf5(path: PathLike, start: int, stop: int) -> np.ndarray:
    """The rows `start` to `stop` - 1 of the dataset `data` at `path`, float32, in the units of the file.

    Raises:
      UserError: unreadable file, NaN or infinite values.
    """
    path = pathlib.Path(path)
    with _open_hdf5(path) as file, guarded.reading(path, f"rows {start}-{stop - 1} cannot be read", "fetch it anew"):
        data = _data(path, file)
        _check_chunks(data, start, stop)
        rows = np.asarray(data[start:stop], np.float32)
    if not (np.abs(rows) <= LARGEST).all():
        raise UserError(f"{path}: NaN or infinite values in rows {start}-{stop - 1}; replace them before preparing")
    return rows


def _data(path: pathlib.Path, file: h5py.File) -> h5py.Dataset:
    """The dataset `data`, which lies in this file: one that lies elsewhere could be a pipe, or any file at all."""
    if not isinstance(file.get("data", getlink=True), h5py.HardLink) or not isinstance(file["data"], h5py.Dataset):
        raise UserError(
            f"{path}: no dataset named 'data' among the {len(file)} there; use the authors' files as they were "
            "published"
        )
    if file["data"].external or file["data"].is_virtual:
        raise guarded.Damaged("its values lie in other files")
    return file["data"]


def _check_chunks(data: h5py.Dataset, start: int, stop: int) -> None:
    """Raises Damaged where a compressed chunk of these rows would become larger than a chunk is."""
    plist = data.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if not set(filters) <= FILTERS or filters.count(h5py.h5z.FILTER_DEFLATE) > 1:
        raise guarded.Damaged("it is compressed in a way that is not read here")
    if h5py.h5z.FILTER_DEFLATE not in filters:
        return
    size = int(np.prod(data.chunks, dtype=object)) * data.dtype.itemsize
    for chunk in data.iter_chunks((slice(start, stop), *[slice(0, length) for length in data.shape[1:]])):
        place = tuple(axis.start // length * length for axis, length in zip(chunk, data.chunks, strict=True))
        if data.id.get_chunk_info_by_coord(place).size:  # else it was never written
            decompression.check_expands(data.id.read_direct_chunk(place)[1], size + CHECKSUM, "zlib")


def _open_hdf5(path: pathlib.Path) -> h5py.File:
    guarded.open_file(path).close()  # refuses what is no regular file
    with guarded.reading(path, "truncated or not HDF5", "fetch the file anew"):
        return h5py.File(path, "r")
