"""The authors' HDF5 files -> arrays: one dataset, `data`, of slices."""
from __future__ import annotations

import pathlib

import h5py
import numpy as np

from fusioninn_jax.formats.image_io import PathLike
from fusioninn_jax.runtime.errors import UserError, first_line


def hdf5_length(path: PathLike, shape: tuple[int, ...]) -> int:
    """The number N of items in the dataset `data` of an HDF5 file, after checking that it is (N, *shape) of numbers.

    Raises:
      UserError: missing or unreadable file, no dataset `data`, another shape.
    """
    with _open_hdf5(pathlib.Path(path)) as file:
        data = file.get("data")
        if not isinstance(data, h5py.Dataset):
            raise UserError(f"{path}: no dataset named 'data' (found: {', '.join(file) or 'nothing'}); "
                            "use the authors' files as they were published")
        if data.shape[1:] != shape or data.dtype.kind not in "iuf":
            raise UserError(f"{path}: 'data' is {data.dtype} of shape {data.shape} where numbers of shape "
                            f"(N, {', '.join(map(str, shape))}) are expected; use the authors' files as published")
        return int(data.shape[0])


def read_hdf5(path: PathLike, start: int, stop: int) -> np.ndarray:
    """Rows start..stop of the dataset `data`, float32, in the units of the file.

    Raises:
      UserError: unreadable file, NaN or infinite values.
    """
    with _open_hdf5(pathlib.Path(path)) as file:
        try:
            rows = np.asarray(file["data"][start:stop], np.float32)
        except OSError as error:
            raise UserError(f"{path}: rows {start}-{stop - 1} cannot be read ({first_line(error)}); fetch it anew"
                            ) from error
    if not np.isfinite(rows).all():
        raise UserError(f"{path}: NaN or infinite values in rows {start}-{stop - 1}; replace them before preparing")
    return rows


def _open_hdf5(path: pathlib.Path) -> h5py.File:
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path}: truncated or not HDF5 ({first_line(error)}); fetch the file anew") from error
