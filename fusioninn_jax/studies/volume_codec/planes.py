"""Planes of integers: what of them is coded, and the slabs that are cut out of them with margins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fusioninn_jax.studies.volume_codec import fitting, kernel, layout, rule
from fusioninn_jax.studies.volume_codec.layout import BEFORE, BEHIND, KNOWN_MOST, MARGIN

Box = tuple[slice, slice, slice]


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
        """The same within a `box`."""
        return self._replace(planes=[cropped(plane, box) for plane in self.planes])


def box_of(content: np.ndarray) -> Box:
    """Where there is `content`, flags (Z, H, W), at least one voxel; what lies around it costs nothing."""
    edges = []
    for axes in ((1, 2), (0, 2), (0, 1)):
        places = np.flatnonzero(content.any(axes))
        edges.append(slice(int(places[0]), int(places[-1]) + 1) if len(places) else slice(0, 1))
    return edges[0], edges[1], edges[2]


def edges_of(box: Box) -> list[int]:
    """First and end of each axis of a `box`."""
    return [edge for part in box for edge in (part.start, part.stop)]


def cropped(plane: Plane, box: Box) -> Plane:
    """A `plane` within a `box` of it."""
    return plane._replace(levels=plane.levels[box], content=plane.content[box])


def uncropped(plane: Plane, box: Box, shape: tuple[int, int, int]) -> Plane:
    """Undoes `cropped`: background around a `plane`, which is the `box` of one of this `shape`."""
    levels, content = np.full(shape, plane.background, np.int32), np.zeros(shape, np.uint8)
    levels[box], content[box] = plane.levels, plane.content
    return plane._replace(levels=levels, content=content)


class Margined:
    """A plane and what is known, with margins; the slabs are views or copies of these."""

    def __init__(self, plane: Plane, given: Given) -> None:
        chosen = [*given.planes[:1], *given.planes[1:][-(KNOWN_MOST - 1) :]]
        self._top, self._background = plane.top, plane.background
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
        """Neighbours in a slab of so many `slices`."""
        return layout.neighbours((slices + BEFORE + BEHIND, *self._own.shape[1:]), len(self._known))

    def slab(self, first: int, last: int) -> kernel.Slab:
        """The slices `first` ... `last` - 1, copied; no slice of the plane before them is seen."""

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
        """As `fitting.fit`, for the slab of the slices `first` ... `last` - 1."""
        slab = self.slab(first, last)
        own = slab.own.reshape(slab.shape)
        layout.fill(own, slab.content.reshape(slab.shape))
        return fitting.fit(slab.own, slab.known, slab.content, int(np.prod(slab.shape[1:])), self.near(last - first))

    def take(self, first: int, slab: kernel.Slab) -> None:
        """Keeps what the `slab` from the slice `first` on was decoded to."""
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
