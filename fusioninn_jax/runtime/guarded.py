"""One guarded way from a path to content: regular files alone, decompression bounded, any reader's error one line.

Nothing of a file's content gets into a message: a header's text may name a patient. An error's own words are quoted
only where this package raised it (`Damaged`) or the operating system did.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import json
import logging
import lzma
import os
import pathlib
import shutil
import stat
import tempfile
import threading
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from fusioninn_jax.runtime.errors import UserError

CHUNK = 1 << 20  # bytes decompressed at a time
SLACK = 1 << 20  # bytes that may follow what a header declares
LARGEST_FILE = (1 << 32) + (1 << 26)  # bytes of a file that is read whole: as many as DICOM's pixels can be, and more
GZIP = b"\x1f\x8b"
SQUEEZED = (zlib.error, lzma.LZMAError, gzip.BadGzipFile, zipfile.BadZipFile)  # what decompressors raise


class Damaged(ValueError):
    """Content is not what its format asks for; the message is ours and quotes no text of the file."""


def why(error: BaseException) -> str:
    """What `error` says about a file, without a word of the file's content."""
    if isinstance(error, Damaged):
        return str(error)
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    if isinstance(error, EOFError):
        return "it ends too early"
    if isinstance(error, SQUEEZED):
        return "its compressed content is damaged"
    if isinstance(error, MemoryError):
        return "it asks for more memory than there is"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return f"its content is not what the format asks for, {type(error).__name__}"


def reason(error: BaseException, path: os.PathLike[str]) -> str:
    """What `error` says is wrong with a file: `why`, or a UserError's words without `path` and how to mend it."""
    told = str(error).removeprefix(f"{os.fspath(path)}: ").partition(";")[0]
    return told if isinstance(error, UserError) else why(error)


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


_HELD = threading.Lock()  # the process has one stderr


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


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Keeps back what the block writes to the process's stderr, and drops it where the block raises.

    C++ libraries log an error in their own words, whatever they are told, and so beside our one line. What comes from a
    block that succeeds is shown at its end. Does nothing in a second thread meanwhile, or without a stderr.
    """
    if not _HELD.acquire(blocking=False):
        yield
        return
    try:
        with _kept_back() if _has_stderr() else contextlib.nullcontext():
            yield
    finally:
        _HELD.release()


def _has_stderr() -> bool:
    try:
        os.fstat(2)
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _kept_back() -> Iterator[None]:
    shown = os.dup(2)
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(shown, 2)
            held.seek(0)
            with open(2, "wb", closefd=False) as stderr:
                shutil.copyfileobj(held, stderr)
    finally:
        os.close(shown)


def check_there(path: pathlib.Path) -> os.stat_result:
    """The status of the file or folder at `path`.

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
    """The regular file at `path`, open for reading. Pipes and devices are refused before they can block.

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
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise Damaged(f"it is longer than {most} bytes")
        return file.read(size)  # not `most`, for which memory would be taken at once


def read_anywhere(path: os.PathLike[str]) -> bytes:
    """The content of the file at `path`, regular where it lies on a disk, or of an object in a bucket (an `epath` URL).

    Raises:
      UserError: as `read_bytes`.
    """
    name = os.fspath(path)
    return path.read_bytes() if "://" in name else read_bytes(pathlib.Path(name))  # type: ignore[attr-defined]


def read_json(path: os.PathLike[str]) -> Any:
    """What the JSON file at `path` holds, on a disk or in a bucket.

    Raises:
      UserError: as `read_anywhere`.
      ValueError: no JSON, or nested too deeply.
    """
    content = read_anywhere(path)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise Damaged("it is nested too deeply") from error


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
        start = take(stream, head)
        size = max(declared(start), len(start))
        content = start + take(stream, size - len(start))
        if squeezed and len(take(stream, SLACK, keep=False)) == SLACK:  # the end is read for gzip's checksum
            raise Damaged(f"it holds far more than the {size} bytes that its header declares")
        return content


def take(stream: BinaryIO, size: int, keep: bool = True) -> bytes:
    """Up to `size` bytes, read in pieces, since a header may ask for more than the file holds.

    Args:
      stream: open for reading; it may decompress.
      size: at most so many bytes; any number will do.
      keep: else zeros are returned.
    """
    pieces, taken = [], 0
    while taken < size:
        piece = stream.read(min(CHUNK, size - taken))
        if not piece:
            break
        taken += len(piece)
        pieces.append(piece if keep else bytes(len(piece)))
    return b"".join(pieces)
