"""The numbers that travel beside a stream, as bytes: int64 in byte planes, deflated."""

from __future__ import annotations

import zlib

import numpy as np

from fusioninn_jax.runtime import decompression

LARGEST = 2**26  # of a triangle's numbers


def pack(values: np.ndarray) -> bytes:
    """Integer `values` as bytes: sign folded into the lowest bit, then byte planes."""
    values = np.ascontiguousarray(values, np.int64).ravel()
    folded = (values << 1) ^ (values >> 63)
    return zlib.compress(np.ascontiguousarray(folded.view(np.uint8).reshape(-1, 8).T).tobytes(), 9)


def unpack(data: bytes, count: int) -> np.ndarray:
    """Undoes `pack`: `count` integers from `data`.

    Raises:
      Damaged: another number of them, or no such data.
    """
    planes = np.frombuffer(decompression.decompress(data, 8 * count, "zlib"), np.uint8).reshape(8, count)
    folded = np.ascontiguousarray(planes.T).view(np.uint64).ravel()
    return (folded >> np.uint64(1)).view(np.int64) ^ -(folded & np.uint64(1)).view(np.int64)


def pack_triangle(triangle: np.ndarray) -> bytes:
    """A lower `triangle` whose numbers have few significant bits: these, and how far they are shifted."""
    values = triangle[np.tril_indices(len(triangle))]
    lowest = values & -values
    shift = np.where(values == 0, 0, np.frexp(lowest.astype(np.float64))[1] - 1).astype(np.int64)
    return pack(np.concatenate([values >> shift, shift]))


def unpack_triangle(data: bytes, size: int) -> np.ndarray:
    """Undoes `pack_triangle`: (`size`, `size`) from `data`.

    Raises:
      ValueError: damaged data (`Damaged` is one), or larger numbers than an encoder writes.
    """
    count = size * (size + 1) // 2
    values, shift = unpack(data, 2 * count).reshape(2, count)
    if shift.min(initial=0) < 0 or shift.max(initial=0) > 31 or np.abs(values).max(initial=0) > 2**20:
        raise ValueError("numbers out of range")
    triangle = np.zeros((size, size), np.int64)
    triangle[np.tril_indices(size)] = values << shift
    if np.abs(triangle).max(initial=0) > LARGEST:
        raise ValueError("numbers out of range")
    return triangle
