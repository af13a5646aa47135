"""Colour of a study: luma is fused, chroma goes beside it and comes back. Chroma is that of `image_io.luma_chroma`.

Two coloured sources share their chroma by the rule of Prabhakar et al. 2017 (DeepFuse, eq. 6), used throughout the
field: each is weighted by its distance from grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fusioninn_jax.formats import image_io
from fusioninn_jax.runtime import decompression

STEP = 0.25  # levels of the file in which chroma is noted: fine enough that the rounded colours come back exactly
FLOAT_STEPS = 2.0**30  # over the largest chroma of a float image
DEPTH = 65535  # of a written fused image


class Chroma(NamedTuple):
    """What makes a grey series coloured.

    Attributes:
      values: (Z, Y, X, 2), in the units of the file; 0 is grey.
      dtype: of the file's colours: `|u1`, `<u2` or `<f4`.
    """

    values: np.ndarray
    dtype: str

    def white(self, luma: np.ndarray) -> float:
        """The value of white: the largest integer, or for float images 1, 255 or 65535 as the luma needs."""
        if self.dtype != "<f4":
            return float(np.iinfo(self.dtype).max)
        return next((white for white in (1.0, 255.0) if luma.max() <= white), float(DEPTH))


def split(rgb: np.ndarray) -> tuple[np.ndarray, Chroma]:
    """Colours `rgb`, (Y, X, 3), as (1, Y, X) float32 luma and chroma."""
    luma, chroma = image_io.luma_chroma(rgb)
    return luma[None], Chroma(chroma[None], rgb.dtype.newbyteorder("<").str)


def join(luma: np.ndarray, chroma: Chroma) -> np.ndarray:
    """(Y, X, 3) colours in their type from (Y, X) luma and the chroma of one slice."""
    rgb = image_io.colour(luma, chroma.values[0])
    if chroma.dtype == "<f4":
        return rgb
    return np.clip(np.rint(rgb), 0, np.iinfo(chroma.dtype).max).astype(chroma.dtype)


def of_fused(sources: Sequence[Chroma | None], lumas: Sequence[np.ndarray]) -> np.ndarray | None:
    """The fused image's chroma, (Z, Y, X, 2) in parts of white; None where none of `sources` is coloured.

    C = sum C_i |C_i| / sum |C_i| over the coloured ones, for Cb and Cr alone; where all are grey it is 0. `lumas`, one
    (Z, Y, X) for each source, tell which value is white.
    """
    parts = [chroma.values / chroma.white(luma) for chroma, luma in zip(sources, lumas, strict=True) if chroma]
    if len(parts) < 2:
        return parts[0] if parts else None
    weight = sum(np.abs(part) for part in parts)
    return sum(part * np.abs(part) for part in parts) / np.where(weight > 0, weight, 1)


def paint(luma: np.ndarray, chroma: np.ndarray) -> np.ndarray:
    """(Y, X, 3) uint16 colours; where they would leave what can be shown the chroma is reduced, the luma stays.

    Args:
      luma: (Y, X), in [0, 1] after clipping.
      chroma: (Y, X, 2), in parts of white.
    """
    luma = np.clip(np.asarray(luma, np.float64), 0, 1)[..., None]
    off = image_io.colour(luma[..., 0], chroma).astype(np.float64) - luma
    room = np.where(off > 0, 1 - luma, luma)
    share = np.divide(room, np.abs(off), out=np.ones_like(off), where=np.abs(off) > room).min(-1, keepdims=True)
    return np.rint(np.clip(luma + share * off, 0, 1) * DEPTH).astype(np.uint16)


def note(chroma: Chroma) -> dict[str, object]:
    """`chroma` as JSON, rounded to steps far below a level."""
    largest = float(np.abs(chroma.values).max(initial=0))
    step = STEP if chroma.dtype != "<f4" else (largest / FLOAT_STEPS or 1.0)
    steps = np.rint(np.asarray(chroma.values, np.float64) / step).astype("<i4")
    return {"dtype": chroma.dtype, "step": step, "data": decompression.packed(steps.tobytes())}


def from_note(noted: dict[str, object], shape: tuple[int, ...]) -> Chroma:
    """Undoes `note`: the chroma that `noted` holds, for a series of `shape` (Z, Y, X).

    Raises:
      Damaged: other content than `note` gives.
    """
    count = int(np.prod(shape)) * 2
    content = decompression.unpacked(str(noted["data"]), 4 * count, "its colours are damaged")
    steps = np.frombuffer(content, "<i4").reshape(*shape, 2)
    return Chroma((steps * float(noted["step"])).astype(np.float32), str(noted["dtype"]))  # type: ignore[arg-type]
