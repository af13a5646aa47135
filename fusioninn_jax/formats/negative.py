"""Negatives: a source that shows the lesion dark is fused as its negative, so that the lesion is bright in all.

Restricted diffusion is dark in a map of the apparent diffusion coefficient (ADC) and bright in FLAIR and DWI. In their
mean it cancels; in the mean with the negative it stands out more than in either. The negative is taken slice by slice,
as slices are scaled, and the background stays the darkest value:

    v' = low + 0.05 (high - low) + 0.95 (high - v)

Volumes are (Z, H, W), low and high the smallest and largest value of a slice. What is background is kept: a lossy way
back would take dark tissue for it, and make bright specks of it. NumPy, on the host.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fusioninn_jax.formats import background
from fusioninn_jax.runtime import decompression
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.guarded import Damaged

GAP = 0.05  # of a slice's range, between the background and the darkest of the negative
OPTION = "--invert"
WRONG = "its `negative` is not as it is written"


class Negative(NamedTuple):
    """What it takes to turn a negative back.

    Attributes:
      background: the value that stands for "nothing here", in the units of the volume.
      ranges: (Z, 2) smallest and largest value of each slice.
      outside: bool (Z, H, W), where the volume has the background's value.
    """

    background: float
    ranges: np.ndarray
    outside: np.ndarray


def find(voxels: np.ndarray, name: str = "the volume") -> Negative:
    """How the negative of a volume is made.

    Args:
      voxels: (Z, H, W), finite, its background darker than the rest.
      name: of the file, for the message.

    Raises:
      UserError: no single value of the background, so its noise would be as bright as the lesion.
    """
    found = background.find(voxels, background.AUTO, name)
    value = float(voxels.min()) if found is None else found.value
    outside = voxels == np.asarray(value, voxels.dtype)
    if outside.mean() < background.VOLUME_SHARE:
        raise UserError(
            f"{name}: no single value is its background, which would be bright in the negative ({OPTION}); set what "
            "lies outside the head to 0, or leave the option out"
        )
    return Negative(value, np.stack([voxels.min((1, 2)), voxels.max((1, 2))], -1), outside)


def negated(voxels: np.ndarray, negative: Negative) -> np.ndarray:
    """The negative (Z, H, W) of a volume, its background the smallest value of all slices.

    Args:
      voxels: (Z, H, W), those of `find`.
      negative: from `find`.
    """
    low, high = _limits(negative)
    bright = low + GAP * (high - low) + (1 - GAP) * (high - voxels)
    return np.where(negative.outside, low.min(), bright).astype(voxels.dtype)


def restored(voxels: np.ndarray, negative: Negative) -> np.ndarray:
    """Undoes `negated`, also after a lossy way.

    Args:
      voxels: (Z, H, W) of the negative.
      negative: from `find`.
    """
    low, high = _limits(negative)
    values = np.clip(high - (voxels - low - GAP * (high - low)) / (1 - GAP), low, high)
    return np.where(negative.outside, negative.background, values).astype(voxels.dtype)


def _limits(negative: Negative) -> tuple[np.ndarray, np.ndarray]:
    """Smallest and largest values, (Z, 1, 1) each."""
    low, high = np.moveaxis(negative.ranges, -1, 0)[..., None, None]
    return low, high


def note(negative: Negative) -> dict[str, object]:
    """As JSON; the background's place is some tens of kilobytes.

    Args:
      negative: from `find`.
    """
    return {
        "background": float(negative.background),
        "ranges": np.asarray(negative.ranges, np.float64).tolist(),
        "outside": decompression.packed(np.packbits(negative.outside).tobytes()),
    }


def from_note(noted: object, shape: tuple[int, ...]) -> Negative:
    """Undoes `note`.

    Args:
      noted: from a record.
      shape: (Z, H, W) of the volume.

    Raises:
      Damaged: other content than `note` gives.
    """
    try:
        value, ranges = float(noted["background"]), np.asarray(noted["ranges"], np.float64)  # type: ignore[index]
        text = str(noted["outside"])  # type: ignore[index]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise Damaged(WRONG) from error
    if ranges.shape != (shape[0], 2) or not np.isfinite([value, *ranges.ravel()]).all():
        raise Damaged(WRONG)
    count = int(np.prod(shape))
    bits = np.frombuffer(decompression.unpacked(text, -(-count // 8), WRONG), np.uint8)
    return Negative(value, ranges, np.unpackbits(bits, count=count).astype(bool).reshape(shape))
