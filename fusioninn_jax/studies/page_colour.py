"""The colours of a study's page: chroma, beside the luma that the panels hold; what is grey has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from fusioninn_jax.formats import colour, image_io
from fusioninn_jax.formats.series import Series
from fusioninn_jax.studies import packed_volume

MIDDLE = 127  # the byte of no chroma; 0 and 254 are the largest


@dataclasses.dataclass(frozen=True)
class Tint:
    """Chroma of a panel as bytes.

    Attributes:
      blue, red: (Z, Y, X) uint8; Cb and Cr of BT.601 are (byte - MIDDLE) / MIDDLE · span.
      span: in the unit of the panel.
    """

    blue: np.ndarray
    red: np.ndarray
    span: float


def of_sources(sources: Sequence[Series], box: tuple[slice, slice, slice]) -> tuple[np.ndarray | None, ...]:
    """For each of `sources` (Z, Y, X, 2) Cb and Cr in a `box` of z, y and x, in its units; None of a grey one."""
    return tuple(None if source.chroma is None else source.chroma.values[box] for source in sources)


def of_fused(sources: Sequence[Series], fused: np.ndarray, box: tuple[slice, slice, slice]) -> np.ndarray | None:
    """(Z, Y, X, 2) chroma in parts of white, as the file of a fused image would hold it; None where all are grey.

    Args:
      sources: the series, of which some are coloured.
      fused: (Z, Y, X) in the box.
      box: of z, y and x.
    """
    mixed = colour.of_fused([source.chroma for source in sources], [source.values for source in sources])
    if mixed is None:
        return None
    painted = [colour.paint(luma, chroma) for luma, chroma in zip(fused, mixed[box], strict=True)]
    return image_io.luma_chroma(np.stack(painted))[1] / colour.DEPTH


def tint(chroma: np.ndarray) -> Tint:
    """Bytes for `chroma`, (Z, Y, X, 2), in any unit."""
    span = float(np.abs(chroma).max(initial=0)) or 1.0
    levels = np.rint(chroma * (MIDDLE / span)) + MIDDLE
    blue, red = np.moveaxis(levels.astype(np.uint8), -1, 0)
    return Tint(blue, red, span)


def tints(
    sources: Sequence[np.ndarray | None], fused: np.ndarray | None, kept: np.ndarray, shrink: int
) -> dict[str, Tint]:
    """The colours of the panels that have some, by the panel's key; those of a decomposed image are its source's.

    Args:
      sources, fused: chroma (Z, Y, X, 2), as `of_sources` and `of_fused` give it.
      kept: slices on the page.
      shrink: of their pixels.
    """
    of = {f"source-{i}": chroma for i, chroma in enumerate(sources, 1)} | {"fused": fused}
    return {key: tint(packed_volume.coarse(chroma[kept], shrink)) for key, chroma in of.items() if chroma is not None}


def packed(tints: dict[str, Tint]) -> dict[str, str]:
    """The texts of a page's `tints`, by the names under which the page's code finds them."""
    return {
        f"{name}-{key}": packed_volume.pack(stored, smooth=False).text
        for key, of in tints.items()
        for name, stored in (("blue", of.blue), ("red", of.red))
    }


def coloured(unit: np.ndarray, chroma: np.ndarray | None, span: np.ndarray | float = 1) -> np.ndarray:
    """(Z, Y, X) in [0, 1] as (Z, Y, X, 3) colours in [0, 1]; as it is where there is no chroma.

    Args:
      unit: luma.
      chroma: in the units of the file.
      span: of those units, from luma 0 to 1: a number, or (Z,).
    """
    if chroma is None:
        return unit
    scale = np.reshape(np.where(np.asarray(span) > 0, span, 1), (-1, 1, 1, 1))
    return np.clip(image_io.colour(unit, chroma / scale), 0, 1)
