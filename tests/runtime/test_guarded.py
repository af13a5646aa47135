"""runtime.guarded: regular files alone, nothing larger than declared, nothing of a file's content in a message."""

import bz2
import gzip
import io
import logging
import lzma
import os
import pathlib
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest

from fusioninn_jax.runtime import decompression, guarded, numpy_files
from fusioninn_jax.runtime.errors import UserError

SQUEEZE = {
    "bz2": bz2.compress,
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "lzma": lzma.compress,
    "deflate": lambda content: zlib.compress(content)[2:-4],
}
BOMB = 48 << 20
SECRET = "FAMILY^GIVEN"


@pytest.mark.parametrize("method", SQUEEZE)
def test_decompression_gives_what_was_declared_and_no_byte_more(method):
    content = os.urandom(3000) + bytes(3 << 20)
    squeezed = SQUEEZE[method](content)
    assert decompression.decompress(squeezed, len(content), method) == content
    assert decompression.decompress(SQUEEZE[method](b""), 0, method) == b""
    for wrong in (len(content) - 1, len(content) + 1, 0):
        with pytest.raises(guarded.Damaged, match="declared|too early"):
            decompression.decompress(squeezed, wrong, method)
    for broken in (squeezed[:-9], squeezed[:40], b"", b"nothing of the kind", squeezed + b"x" * 20):
        with pytest.raises(guarded.Damaged):
            decompression.decompress(broken, len(content), method)


@pytest.mark.parametrize("method", SQUEEZE)
def test_the_start_of_what_is_compressed(method):
    content = os.urandom(5000) + bytes(4 << 20)
    squeezed = SQUEEZE[method](content)
    assert decompression.start_of(squeezed, 6000, method) == content[:6000]
    whole = SQUEEZE[method](content[:3000])
    assert decompression.start_of(whole, 6000, method) == content[:3000]
    assert content.startswith(decompression.start_of(whole[:-20], 6000, method))


@pytest.mark.parametrize("method", SQUEEZE)
def test_a_bomb_costs_no_more_than_it_declares(method):
    bomb = SQUEEZE[method](bytes(BOMB))
    tracemalloc.start()
    with pytest.raises(guarded.Damaged, match="longer than the 1000 bytes"):
        decompression.decompress(bomb, 1000, method)
    assert tracemalloc.get_traced_memory()[1] < 20 << 20
    tracemalloc.stop()


def test_a_gzipped_file_is_read_as_far_as_its_header_says(tmp_path):
    path, declared = tmp_path / "x.gz", lambda head: 5000
    content = os.urandom(5000)
    for written, is_fine in (
        (content, True),
        (content + bytes(100), True),
        (content[:4000], True),
        (content + bytes(BOMB), False),
    ):
        path.write_bytes(gzip.compress(written))
        if is_fine:
            assert guarded.read_declared(path, 348, declared) == written[:5000]
            continue
        tracemalloc.start()
        with pytest.raises(UserError, match="x.gz: truncated or corrupt .*far more than the 5000 bytes"):
            guarded.read_declared(path, 348, declared)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
        tracemalloc.stop()
    path.write_bytes(content)
    assert guarded.read_declared(path, 348, lambda head: 10**18) == content  # no memory for what is not there


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "dangling").symlink_to("nowhere")
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    for path, message in (
        (tmp_path / "pipe", "is a pipe"),
        (tmp_path / "loop", "loop of symbolic links"),
        (tmp_path / "a", "loop of symbolic links"),
        (tmp_path / "dangling", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "sparse", "longer than"),
        (pathlib.Path("/dev/zero"), "is a device"),
        (tmp_path / ("n" * 300), "cannot be read"),
        (tmp_path / "nul\0", "no such file"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            guarded.read_bytes(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        ValueError(SECRET),
        KeyError(SECRET),
        OSError(SECRET),
        MemoryError(SECRET),
        RecursionError(SECRET),
        SyntaxError(SECRET),
        AssertionError(SECRET),
    ],
)
def test_no_word_of_the_content_gets_out(tmp_path, error, caplog, capsys):
    path = tmp_path / "x"
    with (
        pytest.raises(UserError, match="x: is broken .*; mend it") as caught,
        guarded.reading(path, "is broken", "mend it"),
    ):
        warnings.warn(SECRET, stacklevel=1)
        logging.getLogger("pydicom").warning(SECRET)
        raise error
    assert SECRET not in str(caught.value) + caplog.text + "".join(capsys.readouterr())
    logging.getLogger("pydicom").warning("heard again")
    assert "heard again" in caplog.text


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
