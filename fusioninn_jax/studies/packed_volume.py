"""Volumes as text for a page: 8 bits a voxel, predicted, deflated, base64; `viewer/volume.js` reads them back.

A page must hold every slice of nine volumes in some megabytes, and open without a network or an image decoder that a
browser may alter (some randomise what a canvas reads back). Browsers inflate natively, and a predictor in front of
deflate does the rest.
"""

from __future__ import annotations

import base64
import zlib
from typing import NamedTuple

import numpy as np

LEVEL = 6  # of deflate; 9 takes three times as long for one per cent


class Packed(NamedTuple):
    """A volume as the page holds it.

    Attributes:
      coding: how bytes became residuals: `plain`, `median` (predicted from the pixels left, above and left above) or
        `difference` (from another volume's bytes).
      text: base64 of the deflated residuals, slice by slice, row by row.
    """

    coding: str
    text: str


def to_bytes(values: np.ndarray, span: float, levels: int) -> np.ndarray:
    """`values` from 0 to `span` as uint8 from 0 to `levels`; what lies beyond is cut off."""
    return np.clip(np.rint(np.asarray(values, np.float32) * np.float32(levels / span)), 0, levels).astype(np.uint8)


def coarse(images: np.ndarray, shrink: int) -> np.ndarray:
    """(Z, Y, X, ...) `images` as means of `shrink` x `shrink` pixels; what is left over at the ends is dropped."""
    if shrink == 1:
        return images
    count, height, width, *rest = images.shape
    cut = images[:, : height // shrink * shrink, : width // shrink * shrink]
    return cut.reshape(count, height // shrink, shrink, width // shrink, shrink, *rest).mean((2, 4))


def pack(stored: np.ndarray, reference: np.ndarray | None = None, *, smooth: bool = True) -> Packed:
    """Packs uint8 (Z, Y, X).

    Args:
      stored: the volume.
      reference: another one of the same shape that it resembles; the difference is kept.
      smooth: whether neighbours resemble each other; without a reference they then predict each voxel.
    """
    if reference is not None:
        return Packed("difference", _deflate(stored - reference))
    return Packed("median", _deflate(stored - predict(stored))) if smooth else Packed("plain", _deflate(stored))


def predict(stored: np.ndarray) -> np.ndarray:
    """The median edge detector of JPEG-LS (Weinberger et al. 2000, eq. 1), at each voxel of `stored`, uint8 (Z, Y, X).

    With a left, b above and c left above of the voxel (0 outside): min(a, b) where c >= max(a, b), max(a, b) where
    c <= min(a, b), else a + b - c.
    """
    padded = np.pad(stored, ((0, 0), (1, 0), (1, 0))).astype(np.int16)
    left, above, corner = padded[:, 1:, :-1], padded[:, :-1, 1:], padded[:, :-1, :-1]
    return np.clip(left + above - corner, np.minimum(left, above), np.maximum(left, above)).astype(np.uint8)


def _deflate(residuals: np.ndarray) -> str:
    return base64.b64encode(zlib.compress(np.ascontiguousarray(residuals).tobytes(), LEVEL)).decode()
