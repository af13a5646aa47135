"""runtime.numpy_files: an array's header is read before its content, and never more memory is taken than it says."""

import io
import tracemalloc

import numpy as np
import pytest

from fusioninn_jax.runtime import guarded, numpy_files

BOMB = 48 << 20
SECRET = "FAMILY^GIVEN"


def test_npz_tells_what_it_holds_before_it_is_read():
    def content(**arrays):
        np.savez_compressed(file := io.BytesIO(), **arrays)
        return file.getvalue()

    good = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.asfortranarray(np.eye(3))}
    for name, array in numpy_files.read_npz(content(**good)).items():
        np.testing.assert_array_equal(array, good[name])
    bomb = content(**good | {"c": np.zeros(BOMB // 8)})
    tracemalloc.start()
    assert numpy_files.npz_headers(bomb)["c"].shape == (BOMB // 8,)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()
    for wrong in (content(**good)[:-30], b"PK\3\4 nothing", b"", content(c=np.array([None, SECRET]))):
        for read in (numpy_files.npz_headers, numpy_files.read_npz):
            with pytest.raises(guarded.Damaged) as caught:
                read(wrong)
            assert SECRET not in str(caught.value)


@pytest.mark.parametrize("version, length_bytes", [(1, 2), (2, 4)])
def test_a_header_of_an_array_is_no_longer_than_one_can_be(version, length_bytes):
    length = min(BOMB, 256**length_bytes - 1)
    start = b"\x93NUMPY" + bytes([version, 0]) + length.to_bytes(length_bytes, "little")
    file = io.BytesIO(start + b" " * length)
    tracemalloc.start()
    with pytest.raises(guarded.Damaged, match="its header is longer than that of a NumPy array"):
        numpy_files.read_npy_header(file)
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


def test_an_array_longer_than_its_file_is_refused():
    np.save(file := io.BytesIO(), np.arange(12.0))
    content = file.getvalue()
    np.testing.assert_array_equal(numpy_files.read_npy(io.BytesIO(content), len(content)), np.arange(12.0))
    with pytest.raises(guarded.Damaged, match="declares 96 bytes, more than follow it"):
        numpy_files.read_npy(io.BytesIO(content[:-1]), len(content) - 1)
