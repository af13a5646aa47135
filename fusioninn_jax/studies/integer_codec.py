"""Integer arrays and named byte strings as one compressed block. Everything here is exact and the same everywhere."""
from __future__ import annotations

import bz2
import json
from typing import Any, NamedTuple

import numpy as np

MAGIC = b"fusioninn_jax archive 1\n"
END = b"\x01"  # readers strip trailing zeros
FILTERS = ("none", "left", "plane")  # what is subtracted first: nothing, the left neighbour, left + above - corner


class Block(NamedTuple):
    """A block: JSON-like `meta`, integer arrays and byte strings, each by name."""
    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]
    strings: dict[str, bytes]


def pack(block: Block) -> bytes:
    """A block as bytes: magic, length of a JSON table of contents, that table, the contents."""
    contents, table = [], []
    for name, array in block.arrays.items():
        content, entry = _pack_array(array)
        contents.append(content)
        table.append(entry | {"name": name, "size": len(content)})
    for name, content in block.strings.items():
        contents.append(content)
        table.append({"name": name, "size": len(content)})
    head = json.dumps({"meta": block.meta, "table": table}, separators=(",", ":")).encode()
    return b"".join([MAGIC, len(head).to_bytes(8, "little"), head, *contents, END])


def unpack(content: bytes) -> Block:
    """Undoes `pack`.

    Raises:
      ValueError, KeyError, OSError, EOFError: damaged content.
    """
    if not content.startswith(MAGIC):
        raise ValueError("not an archive")
    start = len(MAGIC) + 8
    length = int.from_bytes(content[start - 8:start], "little")
    head = json.loads(content[start:start + length])
    place, arrays, strings = start + length, {}, {}
    for entry in head["table"]:
        piece = content[place:place + entry["size"]]
        place += entry["size"]
        if "shape" in entry:
            arrays[entry["name"]] = _unpack_array(piece, entry)
        else:
            strings[entry["name"]] = piece
    return Block(head["meta"], arrays, strings)


def _pack_array(array: np.ndarray) -> tuple[bytes, dict[str, Any]]:
    """An int64 array: filtered, sign folded into the lowest bit, its bytes in planes, each plane by bzip2."""
    array = np.asarray(array, np.int64)
    chosen = min(FILTERS, key=lambda name: _entropy(_difference(array, name)))
    folded = _fold(_difference(array, chosen)).ravel()
    planes = [(folded >> np.uint64(8 * i)).astype(np.uint8) for i in range(_byte_count(folded))]
    pieces = [bz2.compress(plane.tobytes(), 9) for plane in planes]
    return b"".join(pieces), {"shape": array.shape, "filter": chosen, "planes": [len(piece) for piece in pieces]}


def _unpack_array(content: bytes, entry: dict[str, Any]) -> np.ndarray:
    folded, place = np.zeros(int(np.prod(entry["shape"])), np.uint64), 0
    for i, size in enumerate(entry["planes"]):
        plane = np.frombuffer(bz2.decompress(content[place:place + size]), np.uint8)
        folded |= plane.astype(np.uint64) << np.uint64(8 * i)
        place += size
    unfolded = (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)
    return _sum(unfolded.reshape(entry["shape"]), entry["filter"])


def _fold(array: np.ndarray) -> np.ndarray:
    """0, -1, 1, -2, ... -> 0, 1, 2, 3, ..."""
    return ((array << 1) ^ (array >> 63)).view(np.uint64)


def _byte_count(folded: np.ndarray) -> int:
    return max(1, -(-int(folded.max(initial=0)).bit_length() // 8))


def _difference(array: np.ndarray, name: str) -> np.ndarray:
    """What a filter leaves of (..., H, W); int64 wraps around, so it is exact for any values."""
    if name == "none" or array.ndim < 2:
        return array
    left = np.diff(array, axis=-1, prepend=0)
    return left if name == "left" else np.diff(left, axis=-2, prepend=0)


def _sum(array: np.ndarray, name: str) -> np.ndarray:
    if name == "none" or array.ndim < 2:
        return array
    summed = np.cumsum(array, -2, dtype=np.int64) if name == "plane" else array
    return np.cumsum(summed, -1, dtype=np.int64)


def _entropy(array: np.ndarray) -> float:
    """Bits a value of the two lowest byte planes, taken apart: what the choice of a filter needs to know."""
    folded, bits = _fold(array).ravel(), 0.0
    for shift in (0, 8):
        counts = np.bincount((folded >> np.uint64(shift)).astype(np.uint8), minlength=256)
        share = counts[counts > 0] / max(1, folded.size)
        bits -= float((share * np.log2(share)).sum())
    return bits
