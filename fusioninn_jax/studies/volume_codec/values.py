"""Stored voxels of any integer or float type <-> a plane of levels for the codec, and what it lacks; exact.

| form | level of a voxel | for |
|---|---|---|
| `offset` | its value less the smallest | integers of a range below 2²⁰ |
| `ranks` | its place among the values that occur | scaled integers, floats of few values |
| `split` | its leading bits, the others kept beside | all else; floats by their bits, in the order of their values |
"""

from __future__ import annotations

import zlib
from typing import Any, NamedTuple

import numpy as np

from fusioninn_jax.runtime import decompression
from fusioninn_jax.studies.volume_codec import numbers
from fusioninn_jax.studies.volume_codec.planes import Plane
from fusioninn_jax.studies.volume_codec.prediction import WIDEST

RANKS = 1 << 16  # values that are worth a table
RARE = 0.02  # of the voxels: a value less frequent is no background
SAMPLE = 50_000  # voxels asked for the background
TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")


class Coded(NamedTuple):
    """A plane, JSON-like facts, and the bytes that go with it."""

    plane: Plane
    facts: dict[str, Any]
    beside: bytes


def to_plane(stored: np.ndarray) -> Coded:
    """Voxels `stored`, (Z, H, W) of any integer or float type, as levels from 0."""
    ordered = _ordered(stored)
    low, high, background = int(ordered.min()), int(ordered.max()), _background(ordered)
    content = np.ones(ordered.shape, np.uint8) if background is None else (ordered != background).astype(np.uint8)
    facts: dict[str, Any] = {"form": "offset", "low": low, "background": background}
    if high - low < WIDEST:
        levels, beside = ordered - low, b""
    else:
        values = np.unique(ordered)
        if len(values) <= min(RANKS, ordered.size // 4):
            levels, beside = np.searchsorted(values, ordered), numbers.pack(np.diff(values, prepend=np.int64(low)))
            facts |= {"form": "ranks", "count": len(values)}
        else:
            shift = next(s for s in range(64) if (high >> s) - (low >> s) < WIDEST)
            levels, beside = (ordered >> shift) - (low >> shift), _pack_low(ordered[content > 0], shift)
            facts |= {"form": "split", "shift": shift}
    levels = levels.astype(np.int32)
    missing = int(levels[content == 0][0]) if not content.all() else 0
    return Coded(Plane(levels, content, int(levels.max()), missing), facts, beside)


def from_plane(plane: Plane, facts: dict[str, Any], beside: bytes, dtype: np.dtype) -> np.ndarray:
    """Undoes `to_plane`.

    Args:
      plane, facts, beside: what it gave.
      dtype: of the voxels.

    Raises:
      ValueError, KeyError, TypeError, OverflowError: facts or bytes that do not fit the plane.
    """
    levels, low = plane.levels.astype(np.int64), np.int64(facts["low"])
    if facts["form"] == "offset":
        ordered = levels + low
    elif facts["form"] == "ranks":
        values = low + np.cumsum(numbers.unpack(beside, min(RANKS, int(facts["count"]))))
        if plane.top >= len(values):
            raise ValueError("levels beyond the table of values")
        ordered = values[levels]
    else:
        shift = min(63, max(0, int(facts["shift"])))
        ordered = (levels + (low >> np.int64(shift))) << np.int64(shift)
        ordered[plane.content > 0] |= _unpack_low(beside, shift, int(np.count_nonzero(plane.content)))
        ordered[plane.content == 0] = np.int64(facts["background"] or 0)
    return _unordered(ordered, dtype)


def _background(ordered: np.ndarray) -> int | None:
    """The most frequent value, where it is frequent."""
    flat = ordered.ravel()
    values, counts = np.unique(flat[:: max(1, flat.size // SAMPLE)], return_counts=True)
    found = values[counts.argmax()]
    return int(found) if np.count_nonzero(flat == found) >= max(2, RARE * flat.size) else None


def _pack_low(ordered: np.ndarray, shift: int) -> bytes:
    """The lowest bits of values, in byte planes, each deflated; lengths first."""
    low = ordered & np.int64((1 << shift) - 1)
    planes = [
        zlib.compress(((low >> np.int64(8 * i)) & np.int64(255)).astype(np.uint8).tobytes(), 1)
        for i in range(-(-shift // 8))
    ]
    return b"".join([*(len(plane).to_bytes(8, "little") for plane in planes), *planes])


def _unpack_low(data: bytes, shift: int, count: int) -> np.ndarray:
    planes = -(-shift // 8)
    low, place = np.zeros(count, np.int64), 8 * planes
    for i in range(planes):
        size = int.from_bytes(data[8 * i : 8 * i + 8], "little")
        plane = np.frombuffer(decompression.decompress(data[place : place + size], count, "zlib"), np.uint8)
        low |= plane.astype(np.int64) << np.int64(8 * i)
        place += size
    return low


def _ordered(stored: np.ndarray) -> np.ndarray:
    """Values of any type as int64, one to one and in their order; floats by their bits."""
    if stored.dtype.kind == "u" and stored.dtype.itemsize == 8:
        return (stored ^ np.uint64(1 << 63)).view(np.int64)
    if stored.dtype.kind != "f":
        return stored.astype(np.int64)
    width = stored.dtype.itemsize * 8
    bits = np.ascontiguousarray(stored).view(f"i{width // 8}").astype(np.int64)
    return np.where(bits < 0, bits ^ np.int64(2 ** (width - 1) - 1), bits)


def _unordered(ordered: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Undoes `_ordered`."""
    if dtype.kind == "u" and dtype.itemsize == 8:
        return ordered.view(np.uint64) ^ np.uint64(1 << 63)
    if dtype.kind != "f":
        return ordered.astype(dtype)
    width = dtype.itemsize * 8
    bits = np.where(ordered < 0, ordered ^ np.int64(2 ** (width - 1) - 1), ordered)
    return bits.astype(f"i{width // 8}").view(dtype)
