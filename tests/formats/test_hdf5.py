"""formats.hdf5: the authors' files, chunk by chunk, and what is none of them."""

import os
import zlib

import h5py
import numpy as np
import pytest

from fusioninn_jax.formats import hdf5
from fusioninn_jax.runtime.errors import UserError


def _data(path, **how):
    """An HDF5 file with an empty dataset `data`, and that dataset while it is open."""
    file = h5py.File(path, "w")
    return file, file.create_dataset("data", (4, 2, 3, 3), "f4", **how)


def test_compressed_hdf5_is_read_chunk_by_chunk(tmp_path):
    rows = np.arange(4 * 2 * 3 * 3, dtype=np.float32).reshape(4, 2, 3, 3)
    file, data = _data(tmp_path / "a.h5", chunks=(3, 2, 2, 3), compression="gzip", shuffle=True, fletcher32=True)
    data[:] = rows
    file.close()
    np.testing.assert_array_equal(hdf5.read_hdf5(tmp_path / "a.h5", 1, 4), rows[1:4])


def test_an_hdf5_bomb(tmp_path):
    file, data = _data(tmp_path / "a.h5", chunks=(1, 2, 3, 3), compression="gzip")
    data.id.write_direct_chunk((1, 0, 0, 0), zlib.compress(bytes(50 << 20)), 0)
    file.close()
    np.testing.assert_array_equal(hdf5.read_hdf5(tmp_path / "a.h5", 2, 4), 0)
    with pytest.raises(UserError, match="its compressed content is longer than the 76 bytes declared"):
        hdf5.read_hdf5(tmp_path / "a.h5", 0, 4)
    file, _ = _data(tmp_path / "b.h5", chunks=(1, 2, 3, 3), compression="lzf")
    file.close()
    with pytest.raises(UserError, match="it is compressed in a way that is not read here"):
        hdf5.read_hdf5(tmp_path / "b.h5", 0, 4)


@pytest.mark.parametrize("where", ["link", "storage"])
def test_hdf5_whose_values_lie_elsewhere_is_refused_at_once(tmp_path, where):
    os.mkfifo(tmp_path / "pipe")
    if where == "link":
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["data"] = h5py.ExternalLink(str(tmp_path / "pipe"), "data")
    else:
        file, _ = _data(tmp_path / "a.h5", external=[(str(tmp_path / "pipe"), 0, 4 * 4 * 2 * 3 * 3)])
        file.close()
    for read in (lambda path: hdf5.hdf5_length(path, (2, 3, 3)), lambda path: hdf5.read_hdf5(path, 0, 4)):
        with pytest.raises(UserError, match="no dataset named 'data'|its values lie in other files"):
            read(tmp_path / "a.h5")


def test_hdf5(tmp_path):
    rows = np.arange(5 * 2 * 3 * 3, dtype=np.float32).reshape(5, 2, 3, 3)
    path = tmp_path / "d.h5"
    with h5py.File(path, "w") as file:
        file["data"] = rows
        file["other"] = np.zeros(3)
    assert hdf5.hdf5_length(path, (2, 3, 3)) == 5
    np.testing.assert_array_equal(hdf5.read_hdf5(path, 1, 4), rows[1:4])
    with pytest.raises(UserError, match=r"of shape \(5, 2, 3, 3\) where numbers of shape \(N, 4, 3, 3\)"):
        hdf5.hdf5_length(path, (4, 3, 3))
    with h5py.File(path, "a") as file:
        del file["data"]
    with pytest.raises(UserError, match="no dataset named 'data' among the 1 there"):
        hdf5.hdf5_length(path, (2, 3, 3))
    with h5py.File(path, "a") as file:
        file["data"] = np.zeros(3, [("FAMILY^GIVEN", "f4")])
    with pytest.raises(UserError, match="'data' is void32 of shape"):
        hdf5.hdf5_length(path, (2, 3, 3))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="truncated or not HDF5"):
        hdf5.hdf5_length(path, (2, 3, 3))
    with pytest.raises(UserError, match="no such file"):
        hdf5.hdf5_length(tmp_path / "none.h5", (2, 3, 3))
