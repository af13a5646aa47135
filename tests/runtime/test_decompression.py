"""runtime.decompression: never more than was declared, whatever the content would become."""

import bz2
import gzip
import lzma
import os
import tracemalloc
import zlib

import pytest

from fusioninn_jax.runtime import decompression, guarded

SQUEEZE = {
    "bz2": bz2.compress,
    "zlib": zlib.compress,
    "gzip": gzip.compress,
    "lzma": lzma.compress,
    "deflate": lambda content: zlib.compress(content)[2:-4],
}
BOMB = 48 << 20


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


@pytest.mark.parametrize("method", SQUEEZE)
def test_content_is_checked_against_a_bound_without_being_kept(method):
    squeezed = SQUEEZE[method](bytes(4 << 20))
    decompression.check_expands(squeezed, 4 << 20, method)
    with pytest.raises(guarded.Damaged, match="longer than the 4194303 bytes"):
        decompression.check_expands(squeezed, (4 << 20) - 1, method)
    decompression.check_expands(squeezed[:-5], 4 << 20, method)  # ends too early: left to the reader


def test_what_is_packed_is_unpacked_and_nothing_else():
    content = os.urandom(100)
    text = decompression.packed(content)
    assert text.isascii() and decompression.unpacked(text, 100, "no header") == content
    with pytest.raises(guarded.Damaged, match="no header"):
        decompression.unpacked("<not base64>", 100, "no header")
    with pytest.raises(guarded.Damaged):
        decompression.unpacked(text, 99, "no header")
