"""Reading blocks of integer arrays and named byte strings, as archives of version 1 hold them."""

from __future__ import annotations

import bz2
import json
import math
from typing import Any, NamedTuple

import numpy as np

MAGIC = b"fusioninn_jax archive 1\n"


class Block(NamedTuple):
    """A block: JSON-like `meta`, integer arrays and byte strings, each by name."""

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray]
    strings: dict[str, bytes]


def unpack(content: bytes, largest: int) -> Block:
    """A block: MAGIC, length of a JSON table of contents, that table, the contents.

    Args:
      content: the bytes.
      largest: numbers that an array may have; more are never made.

    Raises:
      ValueError, KeyError, TypeError, OSError, EOFError: damaged content.
    """
    if not content.startswith(MAGIC):
        raise ValueError("not an archive")
    start = len(MAGIC) + 8
    length = int.from_bytes(content[start - 8 : start], "little")
    head = json.loads(content[start : start + length])
    place, arrays, strings = start + length, {}, {}
    for entry in head["table"]:
        piece = content[place : place + entry["size"]]
        place += entry["size"]
        if "shape" in entry:
            arrays[entry["name"]] = _unpack_array(piece, entry, largest)
        else:
            strings[entry["name"]] = piece
    return Block(head["meta"], arrays, strings)


def _unpack_array(content: bytes, entry: dict[str, Any], largest: int) -> np.ndarray:
    """An int64 array: byte planes by bzip2, the sign folded into the lowest bit, summed up as its filter says."""
    count = math.prod(entry["shape"])
    if not 0 <= count <= largest or len(entry["planes"]) > 8:
        raise ValueError("an array larger than its picture allows")
    folded, place = np.zeros(count, np.uint64), 0
    for i, size in enumerate(entry["planes"]):
        plane = np.frombuffer(bz2.BZ2Decompressor().decompress(content[place : place + size], count + 1), np.uint8)
        if len(plane) != count:
            raise ValueError("an array of another size than its shape")
        folded |= plane.astype(np.uint64) << np.uint64(8 * i)
        place += size
    unfolded = (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)
    return _sum(unfolded.reshape(entry["shape"]), entry["filter"])


def _sum(array: np.ndarray, name: str) -> np.ndarray:
    if name == "none" or array.ndim < 2:
        return array
    summed = np.cumsum(array, -2, dtype=np.int64) if name == "plane" else array
    return np.cumsum(summed, -1, dtype=np.int64)
