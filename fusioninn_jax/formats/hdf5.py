"""The authors' HDF5 files -> arrays: one dataset, `data`, of slices."""

from __future__ import annotations

import pathlib

import h5py
import numpy as np

from fusioninn_jax.formats.image_io import LARGEST, PathLike
from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError


def hdf5_length(path: PathLike, shape: tuple[int, ...]) -> int:
    """The number N of items in the dataset `data` of an HDF5 file, after checking that it is (N, *shape) of numbers.

    Raises:
      UserError: missing or unreadable file, no dataset `data`, another shape.
    """
    with (
        _open_hdf5(pathlib.Path(path)) as file,
        guarded.reading(pathlib.Path(path), "not readable HDF5", "fetch the file anew"),
    ):
        data = file.get("data")
        if not isinstance(data, h5py.Dataset):
            raise UserError(
                f"{path}: no dataset named 'data' (found: {', '.join(file) or 'nothing'}); "
                "use the authors' files as they were published"
            )
        if data.shape[1:] != shape or data.dtype.kind not in "iuf":
            raise UserError(
                f"{path}: 'data' is {data.dtype} of shape {data.shape} where numbers of shape "
                f"(N, {', '.join(map(str, shape))}) are expected; use the authors' files as published"
            )
        return int(data.shape[0])


def read_hdf5(path: PathLike, start: int, stop: int) -> np.ndarray:
    """Rows start..stop of the dataset `data`, float32, in the units of the file.

    Raises:
      UserError: unreadable file, NaN or infinite values.
    """
    with _open_hdf5(pathlib.Path(path)) as file:
        with guarded.reading(pathlib.Path(path), f"rows {start}-{stop - 1} cannot be read", "fetch it anew"):
            rows = np.asarray(file["data"][start:stop], np.float32)
    if not (np.abs(rows) <= LARGEST).all():
        raise UserError(f"{path}: NaN or infinite values in rows {start}-{stop - 1}; replace them before preparing")
    return rows


def _open_hdf5(path: pathlib.Path) -> h5py.File:
    guarded.open_file(path).close()  # refuses what is no regular file
    with guarded.reading(path, "truncated or not HDF5", "fetch the file anew"):
        return h5py.File(path, "r")
