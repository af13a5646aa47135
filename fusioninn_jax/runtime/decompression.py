"""Decompression that never makes more than was declared."""

from __future__ import annotations

import base64
import bz2
import contextlib
import lzma
import zlib
from collections.abc import Iterator

from fusioninn_jax.runtime.guarded import CHUNK, SQUEEZED, Damaged


def decompress(content: bytes, size: int, method: str = "bz2") -> bytes:
    """Decompresses to exactly `size` bytes; memory stays below twice that, whatever the content would become.

    Args:
      content: one stream of that method, or several in a row (bz2, gzip, lzma); nothing else behind it.
      size: of what comes out, as declared by whoever wrote it.
      method: `bz2`, `zlib`, `gzip`, `lzma`, or `deflate` (no header).

    Raises:
      Damaged: other content, or another length.
    """
    pieces: list[bytes] = []
    length, rest = 0, content
    try:
        while rest or not pieces:
            stream = _decompressor(method)
            while not stream.eof:
                piece = stream.decompress(rest, min(CHUNK, size - length + 1))
                rest = b""
                length += len(piece)
                pieces.append(piece)
                if length > size:
                    raise Damaged(f"its compressed content is longer than the {size} bytes declared")
                if not piece and not stream.eof and stream.needs_input:
                    raise Damaged("its compressed content ends too early")
            rest = stream.unused_data
    except Damaged:
        raise
    except (OSError, EOFError, ValueError, *SQUEEZED) as error:
        raise Damaged("its compressed content is damaged") from error
    if length != size:
        raise Damaged(f"its compressed content has {length} bytes where {size} are declared")
    return b"".join(pieces)


def packed(content: bytes) -> str:
    """`content` compressed, as text for a record."""
    return base64.b64encode(zlib.compress(content)).decode()


def unpacked(text: str, size: int, wrong: str) -> bytes:
    """Undoes `packed`.

    Args:
      text: what it gave.
      size: of the content.
      wrong: what to say where it is no such text.

    Raises:
      Damaged: other text, or another length.
    """
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Damaged(wrong) from error
    return decompress(content, size, "zlib")


def check_expands(content: bytes, most: int, method: str) -> None:
    """Raises Damaged where `content`, decompressed by a `method` of `decompress`, is longer than `most` bytes.

    What comes out is thrown away piece by piece. What ends too early, or is damaged, is left to the reader.
    """
    length = 0
    for piece in _pieces(content, method):
        length += len(piece)
        if length > most:
            raise Damaged(f"its compressed content is longer than the {most} bytes declared")


def start_of(content: bytes, most: int, method: str) -> bytes:
    """The first bytes, `most` at most, of `content` decompressed by a `method` of `decompress`.

    Fewer where it ends too early, or is damaged.
    """
    pieces, length = [], 0
    for piece in _pieces(content, method):
        pieces.append(piece)
        length += len(piece)
        if length >= most:
            break
    return b"".join(pieces)[:most]


def _pieces(content: bytes, method: str) -> Iterator[bytes]:
    """Decompressed content in pieces, as far as it is sound."""
    stream, rest = _decompressor(method), content
    with contextlib.suppress(OSError, EOFError, ValueError, *SQUEEZED):
        while not stream.eof:
            piece = stream.decompress(rest, CHUNK)
            rest = b""
            if not piece:
                break
            yield piece


def _decompressor(method: str) -> bz2.BZ2Decompressor | lzma.LZMADecompressor | _Inflate:
    if method in ("bz2", "lzma"):
        return bz2.BZ2Decompressor() if method == "bz2" else lzma.LZMADecompressor()
    return _Inflate({"zlib": zlib.MAX_WBITS, "gzip": 16 + zlib.MAX_WBITS, "deflate": -zlib.MAX_WBITS}[method])


class _Inflate:
    """zlib's decompressor in the manner of bz2's, which keeps its unread input itself."""

    def __init__(self, bits: int) -> None:
        self._zlib = zlib.decompressobj(bits)
        self._rest = memoryview(b"")  # not shown to zlib yet: it copies what it leaves unread, at every call

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        """Whether all that was given is used up."""
        return not self._zlib.unconsumed_tail and not self._rest

    @property
    def unused_data(self) -> bytes:
        """What follows the stream."""
        return self._zlib.unused_data + self._rest

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes more."""
        if data:
            self._rest = memoryview(self._rest.tobytes() + data)
        while True:
            part: bytes | memoryview = self._zlib.unconsumed_tail
            if not part:
                part, self._rest = self._rest[:CHUNK], self._rest[CHUNK:]
            piece = self._zlib.decompress(part, max_length)
            if piece or self.eof or self.needs_input:
                return piece
