"""Planes of integers to bytes and back, given what is known already; slabs of slices in threads.

The bytes do not depend on how many threads there are: the slabs are chosen by their content.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np

from fusioninn_jax.runtime import cores
from fusioninn_jax.studies.volume_codec import fitting, kernel, layout, numbers
from fusioninn_jax.studies.volume_codec.coder import new_coder
from fusioninn_jax.studies.volume_codec.layout import BEFORE, BEHIND
from fusioninn_jax.studies.volume_codec.planes import Box, Given, Margined, Plane, box_of, cropped, edges_of, uncropped
from fusioninn_jax.studies.volume_codec.prediction import WIDEST, new_adaptive, new_fit
from fusioninn_jax.studies.volume_codec.residual import new_learned

SLAB_CONTENT = 350_000  # voxels that a thread of its own is worth
SLABS_MOST = 16
HEAD, ENTRY = struct.Struct("<IIBB6I"), struct.Struct("<III")
Progress = Callable[[], object]


def encode(plane: Plane, given: Given, progress: Progress = lambda: None) -> bytes:
    """A plane as bytes.

    Args:
      plane: to be coded; top below 2²⁰.
      given: the picture first, then the sources before this one.
      progress: called as each slab is done.
    """
    box = box_of(plane.content)
    plane = cropped(plane, box)
    margined = Margined(plane, given.cropped(box))
    borders = _borders(plane.content)
    spans = list(zip(borders[:-1], borders[1:], strict=True))
    with cores.pool() as pool:
        fitted = list(pool.map(lambda span: margined.fit(*span), spans))
        triangle = fitting.decorrelation(np.sum([f[1] for f in fitted], 0), sum(f[2] for f in fitted))

        def code(span: tuple[int, int], coefficients: np.ndarray) -> bytes:
            data = _encode_slab(margined, span, coefficients, triangle)
            progress()
            return data

        streams = list(pool.map(code, spans, [f[0] for f in fitted]))
    tables = [numbers.pack(_differences(f[0])) for f in fitted]
    packed = numbers.pack_triangle(triangle)
    entries = [
        ENTRY.pack(first, len(number), len(stream))
        for (first, _), number, stream in zip(spans, tables, streams, strict=True)
    ]
    head = HEAD.pack(plane.top, plane.background, len(spans), bool((plane.content == 0).any()), *edges_of(box))
    return b"".join([head, *entries, struct.pack("<I", len(packed)), packed, *tables, *streams])


def decode(data: bytes, shape: tuple[int, int, int], given: Given, progress: Progress = lambda: None) -> Plane:
    """Undoes `encode`.

    Args:
      data: what it gave.
      shape: (Z, H, W) of the plane.
      given: what it was given.
      progress: called as each slab is done.

    Raises:
      ValueError: data that no encoder wrote.
    """
    (top, background, count, masked), box, firsts, packed, pieces = _parse(data, shape)
    inside = tuple(part.stop - part.start for part in box)
    empty = Plane(np.zeros(inside, np.int32), np.full(inside, 0 if masked else 1, np.uint8), top, background)
    margined = Margined(empty, given.cropped(box))
    near = margined.near(1)
    triangle = numbers.unpack_triangle(packed, len(near.adapted))

    def code(i: int) -> None:
        first, last = firsts[i], firsts[i + 1]
        size = fitting.groups(last - first + BEFORE + BEHIND).max() + 1
        table = numbers.unpack(pieces[i], size * (len(near.own) + len(near.known) + 1))
        coefficients = _sums(table.reshape(size, -1))
        _decode_slab(margined, (first, last), coefficients, triangle, pieces[count + i])
        progress()

    with cores.pool() as pool:
        list(pool.map(code, range(count)))
    return uncropped(margined.plane(), box, shape)


def _parse(
    data: bytes, shape: tuple[int, int, int]
) -> tuple[tuple[int, int, int, bool], Box, list[int], bytes, list[bytes]]:
    """(top, background, slabs, whether masked), box, first slices and their end, the triangle, tables and streams."""
    try:
        top, background, count, masked, *edges = HEAD.unpack_from(data)
        entries = [ENTRY.unpack_from(data, HEAD.size + i * ENTRY.size) for i in range(count)]
        place = HEAD.size + count * ENTRY.size
        sizes = [struct.unpack_from("<I", data, place)[0], *(e[1] for e in entries), *(e[2] for e in entries)]
    except struct.error as error:
        raise ValueError("its table is cut off") from error
    if any(not 0 <= a < b <= size for a, b, size in zip(edges[::2], edges[1::2], shape, strict=True)):
        raise ValueError("its box does not fit")
    box = (slice(*edges[:2]), slice(*edges[2:4]), slice(*edges[4:]))
    firsts, places = [entry[0] for entry in entries] + [edges[1] - edges[0]], np.cumsum([place + 4, *sizes])
    if places[-1] != len(data) or not count or firsts[0] or (np.diff(firsts) <= 0).any():
        raise ValueError("its table does not fit")
    if not 0 <= background <= top < WIDEST:
        raise ValueError("levels out of range")
    pieces = [data[a:b] for a, b in zip(places[:-1], places[1:], strict=True)]
    return (top, background, count, bool(masked)), box, firsts, pieces[0], pieces[1:]


def table_bytes(data: bytes) -> int:
    """Bytes of `data` beside the streams of `encode`: its own table, coefficients, decorrelation."""
    count = HEAD.unpack_from(data)[2]
    return len(data) - sum(ENTRY.unpack_from(data, HEAD.size + i * ENTRY.size)[2] for i in range(count))


def _differences(coefficients: np.ndarray) -> np.ndarray:
    """Coefficients against those of the group before."""
    return np.diff(coefficients, axis=0, prepend=0)


def _sums(differences: np.ndarray) -> np.ndarray:
    """Undoes `_differences`.

    Raises:
      ValueError: larger coefficients than an encoder writes.
    """
    coefficients = np.cumsum(differences, 0)
    if max(np.abs(differences).max(), np.abs(coefficients).max()) > 2 * fitting.STEEPEST:
        raise ValueError("coefficients out of range")
    return coefficients


def slab_count(plane: Plane) -> int:
    """How often `encode` calls its `progress` for a `plane`."""
    return len(_borders(plane.content[box_of(plane.content)])) - 1


def slab_number(data: bytes) -> int:
    """How often `decode` calls its `progress` for such `data`."""
    return data[8] if len(data) > 8 else 0


def _borders(content: np.ndarray) -> list[int]:
    """First slices of slabs of like content, and the number of slices."""
    sums = np.cumsum(np.count_nonzero(content, axis=(1, 2)))
    count = int(np.clip(round(int(sums[-1]) / SLAB_CONTENT), 1, min(SLABS_MOST, len(sums))))
    inner = np.searchsorted(sums, sums[-1] * np.arange(1, count) / count) + 1
    return sorted({0, len(sums), *inner.tolist()})


def _encode_slab(margined: Margined, span: tuple[int, int], coefficients: np.ndarray, triangle: np.ndarray) -> bytes:
    near, room = margined.near(span[1] - span[0]), 1 << 20
    while True:
        slab = margined.slab(*span)
        coder = new_coder(np.zeros(room + kernel.SPARE * int(slab.shape[2]), np.uint8), 0, False)
        size = _run(slab, coefficients, triangle, near, coder)
        if size != kernel.FULL:
            return coder.data[:size].tobytes()
        room *= 4


def _decode_slab(
    margined: Margined, span: tuple[int, int], coefficients: np.ndarray, triangle: np.ndarray, data: bytes
) -> None:
    slab = margined.slab(*span)
    _run(
        slab,
        coefficients,
        triangle,
        margined.near(span[1] - span[0]),
        new_coder(np.frombuffer(data, np.uint8).copy(), len(data), True),
    )
    margined.take(span[0], slab)


def _run(
    slab: kernel.Slab, coefficients: np.ndarray, triangle: np.ndarray, near: layout.Neighbours, coder: kernel.Coder
) -> int:
    area, row = int(np.prod(slab.shape[1:])), int(slab.shape[2])
    fit = new_fit(coefficients, fitting.groups(int(slab.shape[0])), triangle)
    return int(kernel.code_slab(slab, fit, near, new_adaptive(area, row, len(near.adapted)), new_learned(), coder))
