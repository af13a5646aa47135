"""The block that an archive of version 2 hides in the header of its picture, and the seal over the whole file.

MAGIC, SHA-256 of the whole file (gunzipped, these 32 bytes as zeros), length of a JSON head, the head, its pieces, END.
Nothing in the file stands outside the seal: header, affine, record, picture and block.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import math
import pathlib
import struct
import zlib
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np

from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError

MAGIC = b"fusioninn_jax archive 2\n"
END = b"\x01"  # readers strip trailing zeros
SEAL = 32
GZIP_HEAD = b"\x1f\x8b\x08\0\0\0\0\0\x02\xff"
LENGTH = struct.Struct("<Q")
LONGEST_HEADER, FURTHEST = 540, 2**30  # bytes; no header extension is longer


class Contents(NamedTuple):
    """JSON-like head and byte strings."""

    head: dict[str, Any]
    pieces: list[bytes]


def pack(contents: Contents) -> bytes:
    """The block that holds `contents`, not sealed yet."""
    head = contents.head | {"sizes": [len(piece) for piece in contents.pieces]}
    text = json.dumps(head, separators=(",", ":")).encode()
    return b"".join([MAGIC, bytes(SEAL), LENGTH.pack(len(text)), text, *contents.pieces, END])


def unpack(block: bytes) -> Contents:
    """Undoes `pack`: the contents of a `block`, sealed or not.

    Raises:
      ValueError, KeyError, TypeError, struct.error: damaged content.
    """
    start = len(MAGIC) + SEAL + LENGTH.size
    (length,) = LENGTH.unpack_from(block, start - LENGTH.size)
    head, place, pieces = json.loads(block[start : start + length]), start + length, []
    for size in head["sizes"]:
        if not 0 <= size <= len(block) - place:
            raise ValueError("a piece is cut off")
        pieces.append(block[place : place + size])
        place += size
    return Contents(head, pieces)


def seal(content: bytes) -> bytes:
    """The `content` of a file, gunzipped, with the digest of the whole put in its place."""
    place = content.index(MAGIC) + len(MAGIC)
    return content[:place] + _digest(content, place) + content[place + SEAL :]


def check_seal(path: pathlib.Path, content: bytes) -> bool:
    """Whether `content` is that of an archive of this version.

    Args:
      path: of the file, for the message.
      content: all of it, gunzipped.

    Raises:
      UserError: it is, but not one byte for byte as it was written.
    """
    place = content.find(MAGIC) + len(MAGIC)
    if place < len(MAGIC):
        return False
    if content[place : place + SEAL] != _digest(content, place):
        raise UserError(f"{path}: the archive is damaged, or was changed after it was written; fetch the file anew")
    return True


def _digest(content: bytes, place: int) -> bytes:
    digest = hashlib.sha256(content[:place])
    digest.update(bytes(SEAL))
    digest.update(memoryview(content)[place + SEAL :])
    return digest.digest()


def checksum(stored: np.ndarray) -> str:
    """SHA-256 over type, shape and little-endian voxels of `stored`, (Z, Y, X): 64 hexadecimal digits."""
    little = stored.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{little.str} {stored.shape}".encode())
    digest.update(np.ascontiguousarray(stored, little).data)
    return digest.hexdigest()


def write(path: pathlib.Path, content: bytes, voxels: int) -> None:
    """Writes the `content` of a file to `path`, gzipped where the name says so; the last `voxels` bytes are pixels.

    Pixels deflate best where short matches are not taken, which zlib calls filtered data.
    """
    if not path.name.lower().endswith(".gz"):
        path.write_bytes(content)
        return
    start = len(content) - voxels
    head, picture = zlib.compressobj(6, zlib.DEFLATED, -15), zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
    pieces = [
        head.compress(content[:start]),
        head.flush(zlib.Z_FULL_FLUSH),
        picture.compress(content[start:]),
        picture.flush(),
    ]
    path.write_bytes(b"".join([GZIP_HEAD, *pieces, struct.pack("<II", zlib.crc32(content), len(content) % 2**32)]))


def read(path: pathlib.Path) -> bytes:
    """The content of the NIfTI file at `path`, gunzipped; not more than one byte beyond what its header declares.

    Raises:
      UserError: not there, no regular file, truncated, or its checksum is not met.
    """
    content = guarded.read_bytes(path)
    if content[:2] != GZIP_HEAD[:2]:
        return content
    with (
        guarded.reading(path, "truncated or corrupt", "fetch the file anew"),
        gzip.GzipFile(fileobj=io.BytesIO(content)) as file,
    ):
        head = file.read(LONGEST_HEADER)
        return head + guarded.take(file, max(0, _declared(head) - len(head)) + 1)  # type: ignore[arg-type]


def _declared(head: bytes) -> int:
    """The size of a NIfTI file by its header; 0 where there is none."""
    for kind in (nib.Nifti1Header, nib.Nifti2Header):
        size = kind.sizeof_hdr
        if len(head) >= size and size in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")):
            header = kind(head[:size], check=False)
            axes = min(7, max(0, int(header["dim"][0])))
            voxels = math.prod(max(0, int(n)) for n in header["dim"][1 : axes + 1])
            offset = float(header["vox_offset"])
            return (int(offset) if 0 <= offset < FURTHEST else 0) + voxels * max(0, int(header["bitpix"])) // 8
    return 0
