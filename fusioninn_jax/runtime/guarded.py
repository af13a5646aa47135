"""One guarded way from a path to content: regular files alone, decompression bounded, any reader's error one line.

Nothing of a file's content gets into a message: a header's text may name a patient. An error's own words are quoted
only where this package raised it (`Damaged`) or the operating system did.
"""
from __future__ import annotations

import bz2
import contextlib
import errno
import gzip
import io
import logging
import lzma
import os
import pathlib
import stat
import threading
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np

from fusioninn_jax.runtime.errors import UserError

Read = TypeVar("Read")
CHUNK = 1 << 20  # bytes decompressed at a time
SLACK = 1 << 20  # bytes that may follow what a header declares
LARGEST_FILE = (1 << 32) + (1 << 26)  # bytes of a file that is read whole: as many as DICOM's pixels can be, and more
GZIP = b"\x1f\x8b"
_SQUEEZED = (zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)


class Damaged(ValueError):
    """Content is not what its format asks for; the message is ours and quotes no text of the file."""


def why(error: BaseException) -> str:
    """What an error says about a file, without a word of the file's content."""
    if isinstance(error, Damaged):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if isinstance(error, EOFError):
        return "it ends too early"
    if isinstance(error, _SQUEEZED):
        return "its compressed content is damaged"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"its content is not what the format asks for, {type(error).__name__}"


@contextlib.contextmanager
def reading(path: pathlib.Path, what: str, mend: str) -> Iterator[None]:
    """Whatever a reader raises in the block becomes one line, and other packages' log lines and warnings stay out.

    Args:
      path: the file, for the message.
      what: what is wrong then, e.g. `not a readable NIfTI file`.
      mend: what to do about it.

    Raises:
      UserError: for any error but a UserError, which passes through.
    """
    try:
        with quiet():
            yield
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; check the path") from error
    except Exception as error:  # readers raise all kinds for broken content
        raise UserError(f"{path}: {what} ({why(error)}); {mend}") from error


class _Quiet:
    """How many blocks of how many threads ask for silence, and what to go back to after the last."""
    lock, depth = threading.Lock(), 0
    level, filters = 0, warnings.catch_warnings()


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drops log lines and warnings while the block runs: those of readers quote headers, and stand beside our line."""
    with _Quiet.lock:
        if _Quiet.depth == 0:
            _Quiet.level, _Quiet.filters = logging.root.manager.disable, warnings.catch_warnings()
            _Quiet.filters.__enter__()
            warnings.simplefilter("ignore")
            logging.disable(logging.CRITICAL)
        _Quiet.depth += 1
    try:
        yield
    finally:
        with _Quiet.lock:
            _Quiet.depth -= 1
            if _Quiet.depth == 0:
                _Quiet.filters.__exit__(None, None, None)
                logging.disable(_Quiet.level)


def check_there(path: pathlib.Path) -> os.stat_result:
    """The status of a file or folder.

    Raises:
      UserError: missing, a loop of symbolic links, a name that cannot be, no permission.
    """
    try:
        return path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{path}: no such file or folder; check the path") from error
    except OSError as error:
        what = "is a loop of symbolic links" if error.errno == errno.ELOOP else f"cannot be read ({why(error)})"
        raise UserError(f"{path}: {what}; check the path") from error
    except ValueError as error:
        raise UserError(f"{str(path)!r}: no such file or folder; check the path") from error


def open_file(path: pathlib.Path) -> BinaryIO:
    """A regular file, open for reading. Pipes and devices are refused before they can block.

    Raises:
      UserError: missing, not a regular file, not readable.
    """
    check_there(path)
    try:
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))
    except IsADirectoryError as error:
        raise UserError(f"{path}: is a folder; give a file") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({why(error)}); check its permissions") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise UserError(f"{path}: is {_kind(path)}; give a file")
    return file


def _kind(path: pathlib.Path) -> str:
    mode = path.stat().st_mode
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or socket"


def read_bytes(path: pathlib.Path, most: int = LARGEST_FILE) -> bytes:
    """The content of a regular file.

    Args:
      path: the file.
      most: bytes; a sparse file can claim any number, and cost as much memory.

    Raises:
      UserError: as `open_file`, a longer file, or a failing disk.
    """
    with open_file(path) as file, reading(path, "cannot be read", "check the file"):
        if os.fstat(file.fileno()).st_size > most:
            raise Damaged(f"it is longer than {most} bytes")
        return file.read(most)


def read_declared(path: pathlib.Path, head: int, declared: Callable[[bytes], int]) -> bytes:
    """A file, gzipped or not, as far as its header says that it goes; no more than that is ever held.

    Args:
      path: the file; whether it is gzipped is told from its content.
      head: length of the header in bytes.
      declared: from the header's bytes (fewer where the file is shorter), how long the content is; may raise.

    Returns:
      at most as many bytes as declared; fewer where the file ends before.

    Raises:
      UserError: as `open_file`, damaged compression (a checksum is verified), content far longer than declared.
    """
    with open_file(path) as file, reading(path, "truncated or corrupt", "fetch the file anew"):
        squeezed = file.read(2) == GZIP
        file.seek(0)
        stream: BinaryIO = gzip.GzipFile(fileobj=file) if squeezed else file  # type: ignore[assignment]
        start = _take(stream, head)
        size = max(declared(start), len(start))
        content = start + _take(stream, size - len(start))
        if squeezed and len(_take(stream, SLACK, keep=False)) == SLACK:  # the end is read for gzip's checksum
            raise Damaged(f"it holds far more than the {size} bytes that its header declares")
        return content


def _take(stream: BinaryIO, size: int, keep: bool = True) -> bytes:
    """Up to `size` bytes, read in pieces, since a header may ask for more than the file holds; zeros unless `keep`."""
    pieces, taken = [], 0
    while taken < size:
        piece = stream.read(min(CHUNK, size - taken))
        if not piece:
            break
        taken += len(piece)
        pieces.append(piece if keep else bytes(len(piece)))
    return b"".join(pieces)


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
    except (OSError, EOFError, ValueError, *_SQUEEZED) as error:
        raise Damaged("its compressed content is damaged") from error
    if length != size:
        raise Damaged(f"its compressed content has {length} bytes where {size} are declared")
    return b"".join(pieces)


def check_expands(content: bytes, most: int, method: str) -> None:
    """Raises Damaged where decompressed content would be longer than `most` bytes; it is thrown away piece by piece.

    What ends too early, or is damaged, is left to the reader.
    """
    stream, length, rest = _decompressor(method), 0, content
    with contextlib.suppress(OSError, EOFError, ValueError, *_SQUEEZED):
        while not stream.eof and length <= most:
            piece = stream.decompress(rest, CHUNK)
            rest, length = b"", length + len(piece)
            if not piece:
                break
    if length > most:
        raise Damaged(f"its compressed content is longer than the {most} bytes declared")


def _decompressor(method: str) -> bz2.BZ2Decompressor | lzma.LZMADecompressor | _Inflate:
    if method in ("bz2", "lzma"):
        return bz2.BZ2Decompressor() if method == "bz2" else lzma.LZMADecompressor()
    return _Inflate({"zlib": zlib.MAX_WBITS, "gzip": 16 + zlib.MAX_WBITS, "deflate": -zlib.MAX_WBITS}[method])


class _Inflate:
    """zlib's decompressor in the manner of bz2's, which keeps its unread input itself."""

    def __init__(self, bits: int) -> None:
        self._zlib = zlib.decompressobj(bits)

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        return self._zlib.eof

    @property
    def needs_input(self) -> bool:
        """Whether all that was given is used up."""
        return not self._zlib.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """What follows the stream."""
        return self._zlib.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """At most `max_length` bytes more."""
        return self._zlib.decompress(self._zlib.unconsumed_tail + data, max_length)


class Array(NamedTuple):
    """What the header of a .npy file declares."""
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran_order: bool

    @property
    def size(self) -> int:
        """Bytes of the array."""
        return int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize


def read_npy_header(file: BinaryIO) -> Array:
    """The header of a .npy file, as far as `file` is read then.

    Raises:
      Damaged: no such header, or an array of Python objects.
    """
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran_order, dtype = read(file)
    except Exception as error:  # its header is Python source, parsed with all that this can raise
        raise Damaged("its header is not that of a NumPy array") from error
    if dtype.hasobject:
        raise Damaged("it holds Python objects, not numbers")
    return Array(shape, dtype, fortran_order)


def read_npy(file: BinaryIO, length: int) -> np.ndarray:
    """An array from a .npy file of `length` bytes, never more memory than those.

    Raises:
      Damaged: no such file, or one that is shorter than its header says.
    """
    header = read_npy_header(file)
    if min(header.shape, default=0) < 0 or header.size > length - file.tell():
        raise Damaged(f"its header declares {header.size} bytes, more than follow it")
    content = file.read(header.size)
    if len(content) != header.size:
        raise Damaged("it ends too early")
    array = np.frombuffer(content, header.dtype)
    return array.reshape(header.shape, order="F" if header.fortran_order else "C").copy()


def npz_headers(content: bytes) -> dict[str, Array]:
    """What the arrays of a .npz archive are, by name, before any of them is decompressed.

    Raises:
      Damaged: not such an archive, or one that holds a name twice.
    """
    return _of_members(content, lambda file, length: read_npy_header(file))


def read_npz(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a .npz archive; compare `npz_headers` with what is expected first, so much memory is used.

    Raises:
      Damaged: not such an archive, or arrays that are shorter than declared.
    """
    return _of_members(content, read_npy)


def _of_members(content: bytes, read: Callable[[BinaryIO, int], Read]) -> dict[str, Read]:
    found: dict[str, Read] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist():
                name = member.filename.removesuffix(".npy")
                if name in found:
                    raise Damaged("it holds an array twice")
                with archive.open(member) as file:
                    found[name] = read(file, member.file_size)  # type: ignore[arg-type]
    except Damaged:
        raise
    except Exception as error:  # zipfile raises all kinds for what is no archive, or one of a kind that it cannot read
        raise Damaged("it is not an archive of NumPy arrays") from error
    return found
