"""Files of NumPy arrays, their headers looked at before anything is read: no objects, no more than is there."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import BinaryIO, NamedTuple, TypeVar

import numpy as np

from fusioninn_jax.runtime.guarded import Damaged

Read = TypeVar("Read")
LONGEST_HEADER = 10_000  # bytes, NumPy's own bound; NumPy reads the header before it looks
LENGTH_BYTES = {(1, 0): 2, (2, 0): 4}  # version of the format -> bytes that say how long the header is


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
        length = file.read(LENGTH_BYTES[version])
        if int.from_bytes(length, "little") > LONGEST_HEADER:
            raise Damaged("its header is longer than that of a NumPy array")
        header = io.BytesIO(length + file.read(int.from_bytes(length, "little")))
        shape, fortran_order, dtype = read(header)
    except Damaged:
        raise
    except Exception as error:  # its header is Python source, parsed with all that this can raise
        raise Damaged("its header is not that of a NumPy array") from error
    if dtype.hasobject:
        raise Damaged("it holds Python objects, not numbers")
    return Array(shape, dtype, fortran_order)


def read_npy(file: BinaryIO, length: int) -> np.ndarray:
    """An array from the .npy `file` of `length` bytes, never more memory than those.

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
    """What the arrays of a .npz archive, whose bytes are `content`, are, by name, before any is decompressed.

    Raises:
      Damaged: not such an archive, or one that holds a name twice.
    """
    return _of_members(content, lambda file, length: read_npy_header(file))


def read_npz(content: bytes) -> dict[str, np.ndarray]:
    """The arrays of a .npz archive, whose bytes are `content`.

    Compare `npz_headers` with what is expected first: so much memory is used.

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
