"""Planes of integers to bytes and back, given what is known already; slabs of slices in threads.

The bytes do not depend on how many threads there are: the slabs are chosen by their content.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from fusioninn_jax.runtime import cores
from fusioninn_jax.studies.volume_codec import fitting, kernel, layout, numbers, rule
from fusioninn_jax.studies.volume_codec.coder import new_coder
from fusioninn_jax.studies.volume_codec.layout import BEFORE, BEHIND, KNOWN_MOST, MARGIN
from fusioninn_jax.studies.volume_codec.prediction import WIDEST, new_adaptive, new_fit
from fusioninn_jax.studies.volume_codec.residual import new_learned

SLAB_CONTENT = 350_000  # voxels that a thread of its own is worth
SLABS_MOST = 16
HEAD, ENTRY = struct.Struct("<IIBB6I"), struct.Struct("<III")
Box = tuple[slice, slice, slice]
Progress = Callable[[], object]


class Plane(NamedTuple):
    """Levels (Z, H, W) int32 from 0 to `top`; `content` uint8 flags, 0 where the level is `background`."""

    levels: np.ndarray
    content: np.ndarray
    top: int
    background: int


class Given(NamedTuple):
    """What is known when a plane is coded: planes, and for the last source the rule that the first plane follows."""

    planes: Sequence[Plane]
    rule: rule.Rule | None = None

    def cropped(self, box: Box) -> Given:
        """The same within a box."""
        return self._replace(planes=[_cropped(plane, box) for plane in self.planes])


def encode(plane: Plane, given: Given, progress: Progress = lambda: None) -> bytes:
    """A plane as bytes.

    Args:
      plane: to be coded; top below 2²⁰.
      given: the picture first, then the sources before this one.
      progress: called as each slab is done.
    """
    box = _box(plane.content)
    plane = _cropped(plane, box)
    margined = _Margined(plane, given.cropped(box))
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
    head = HEAD.pack(plane.top, plane.background, len(spans), bool((plane.content == 0).any()), *_edges(box))
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
    margined = _Margined(empty, given.cropped(box))
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
    return _uncropped(margined.plane(), box, shape)


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
    return len(_borders(plane.content[_box(plane.content)])) - 1


def slab_number(data: bytes) -> int:
    """How often `decode` calls its `progress` for such `data`."""
    return data[8] if len(data) > 8 else 0


def _box(content: np.ndarray) -> Box:
    """Where there is content, at least one voxel; what lies around it costs nothing."""
    edges = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        places = np.flatnonzero(content.any(axes))
        edges.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 1))
    return edges[0], edges[1], edges[2]


def _edges(box: Box) -> list[int]:
    """First and end of each axis."""
    return [edge for part in box for edge in (part.start, part.stop)]


def _cropped(plane: Plane, box: Box) -> Plane:
    return plane._replace(levels=plane.levels[box], content=plane.content[box])


def _uncropped(plane: Plane, box: Box, shape: tuple[int, int, int]) -> Plane:
    """Undoes `_cropped`: background around a plane."""
    levels, content = np.full(shape, plane.background, np.int32), np.zeros(shape, np.uint8)
    levels[box], content[box] = plane.levels, plane.content
    return plane._replace(levels=levels, content=content)


def _borders(content: np.ndarray) -> list[int]:
    """First slices of slabs of like content, and the number of slices."""
    sums = np.cumsum(np.count_nonzero(content, axis=(1, 2)))
    count = int(np.clip(round(int(sums[-1]) / SLAB_CONTENT), 1, min(SLABS_MOST, len(sums))))
    inner = np.searchsorted(sums, sums[-1] * np.arange(1, count) / count) + 1
    return sorted({0, len(sums), *inner.tolist()})


class _Margined:
    """A plane and what is known, with margins; the slabs are views or copies of these."""

    def __init__(self, plane: Plane, given: Given) -> None:
        chosen = [*given.planes[:1], *given.planes[1:][-(KNOWN_MOST - 1) :]]
        self._shape, self._top, self._background = plane.levels.shape, plane.top, plane.background
        self._own = layout.padded(plane.levels)
        self._own[BEFORE : len(self._own) - BEHIND, MARGIN:-MARGIN, MARGIN:-MARGIN][plane.content == 0] = (
            plane.background
        )
        self._content = layout.padded(plane.content, np.uint8)
        self._masked = bool((plane.content == 0).any())
        self._known = [_filled(known, plane.top) for known in chosen]
        self._known_content = [layout.padded(known.content > 0, np.uint8) for known in chosen]
        self._given = given
        self._ruled: list[np.ndarray] = []  # the picture, and what of it the sources before give
        if given.rule:
            partial = rule.weigh(given.rule, [known.levels for known in given.planes[1:]])
            self._ruled = [layout.padded(given.planes[0].levels), layout.padded(partial, np.int64)]

    def near(self, slices: int) -> layout.Neighbours:
        """Neighbours in a slab of so many slices."""
        return layout.neighbours((slices + BEFORE + BEHIND, *self._own.shape[1:]), len(self._known))

    def slab(self, first: int, last: int) -> kernel.Slab:
        """The slices first ... last - 1, copied; no slice of the plane before them is seen."""

        def flat(parts: list[np.ndarray], dtype: type) -> np.ndarray:
            return np.concatenate([layout.slab(part, first, last).ravel() for part in parts] or [np.zeros(0, dtype)])

        own, content = (layout.slab(part, first, last).copy() for part in (self._own, self._content))
        for part in (own, content):
            part[:BEFORE] = part[len(part) - BEHIND :] = 0
        ruled = self._given.rule
        picture, partial = flat(self._ruled[:1], np.int32), flat(self._ruled[1:], np.int64)
        bounds = np.array([self._top, self._masked, ruled.coefficients[-1] if ruled else 0, rule.SHIFT], np.int64)
        return kernel.Slab(
            np.array(own.shape, np.int64),
            own.ravel(),
            content.ravel(),
            np.zeros(own.size, np.uint8),
            flat(self._known, np.int32),
            flat(self._known_content, np.uint8),
            bounds,
            picture,
            partial,
            np.array([1, ruled.most if ruled else 0], np.int64),
        )

    def fit(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray, float]:
        """As `fitting.fit`, for a slab."""
        slab = self.slab(first, last)
        own = slab.own.reshape(slab.shape)
        layout.fill(own, slab.content.reshape(slab.shape))
        return fitting.fit(slab.own, slab.known, slab.content, int(np.prod(slab.shape[1:])), self.near(last - first))

    def take(self, first: int, slab: kernel.Slab) -> None:
        """Keeps what a slab was decoded to."""
        last = first + int(slab.shape[0]) - BEFORE - BEHIND
        for part, flat in ((self._own, slab.own), (self._content, slab.content)):
            inside = flat.reshape(slab.shape)[BEFORE:-BEHIND]
            part[first + BEFORE : last + BEFORE] = inside

    def plane(self) -> Plane:
        """The plane, without margins."""
        own, content = (part[BEFORE:-BEHIND, MARGIN:-MARGIN, MARGIN:-MARGIN] for part in (self._own, self._content))
        return Plane(
            np.where(content > 0, own, np.int32(self._background)),
            np.ascontiguousarray(content),
            self._top,
            self._background,
        )


def _filled(known: Plane, top: int) -> np.ndarray:
    """A known plane with margins, filled in, its levels brought to the size of those to be coded."""
    levels = layout.padded(known.levels << max(0, top.bit_length() - known.top.bit_length()))
    layout.fill(levels, layout.padded(known.content > 0, np.uint8))
    return levels


def _encode_slab(margined: _Margined, span: tuple[int, int], coefficients: np.ndarray, triangle: np.ndarray) -> bytes:
    near, room = margined.near(span[1] - span[0]), 1 << 20
    while True:
        slab = margined.slab(*span)
        coder = new_coder(np.zeros(room + kernel.SPARE * int(slab.shape[2]), np.uint8), 0, False)
        size = _run(slab, coefficients, triangle, near, coder)
        if size != kernel.FULL:
            return coder.data[:size].tobytes()
        room *= 4


def _decode_slab(
    margined: _Margined, span: tuple[int, int], coefficients: np.ndarray, triangle: np.ndarray, data: bytes
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
