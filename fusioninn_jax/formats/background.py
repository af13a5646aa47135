"""The background of a volume, and volumes that are already normalised.

Scaling takes the smallest value for the background. In a z-scored volume it is not: the background keeps one value
(often 0) and half of the brain lies below it. `find` tells that value from the border, `darkened` moves it below the
brain, so that what follows can scale by minimum and maximum, and `restored` moves it back.

Volumes are (..., H, W): the border is the first and last row and column of every slice. NumPy, on the host.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fusioninn_jax.runtime.errors import UserError

BORDER_SHARE = 0.5  # of the border's pixels that must have the background's value
DOUBT_SHARE = 0.1  # so many have it, but too few to be sure
VOLUME_SHARE = 0.1  # of all voxels: a frame of zeros round a picture is no background
SAME = 1e-5  # of the range of values; values nearer than this are one
NOISE = 0.1  # of the range of values: a border that varies less is noise about a background, and no brain
DEEP, DEEP_SHARE = 0.05, 0.02  # more than 2 % of the brain lie deeper than 5 % of its height: no undershoot
FAR = 16  # times the brain's range below it: a value that marks what is missing, not a reading
GAP = 0.02  # of the brain's range, between the moved background and the brain
AUTO, MINIMUM = "auto", "minimum"
OPTION = "--background"


class Background(NamedTuple):
    """One value that stands for "nothing here".

    Attributes:
      value: in the units of the volume.
      moved_to: where `darkened` puts it; `value` itself where the brain lies above it.
      brain: the smallest value that is not background; values half way between are told apart by it.
    """

    value: float
    moved_to: float
    brain: float

    @property
    def is_moved(self) -> bool:
        """Whether parts of the brain lie below it."""
        return self.moved_to != self.value


def find(voxels: np.ndarray, asked: str | float = AUTO, name: str = "the volume") -> Background | None:
    """The background of a volume.

    Args:
      voxels: (..., H, W), finite.
      asked: `auto` tells it from the border; `minimum` takes the smallest value; a number is the value itself.
      name: of the file, for the message.

    Returns:
      None where no value stands out, as in a scan with noise round the head: the minimum then serves.

    Raises:
      UserError: a value that may be the background or not, noise about one inside the brain's range, or `asked` is a
        number that no voxel has.
    """
    low, high = float(voxels.min()), float(voxels.max())
    if low == high or asked == MINIMUM:
        return Background(low, low, low) if asked == MINIMUM else None
    same = SAME * (high - low)
    if asked != AUTO:
        return _asked(voxels, float(asked), same, name)
    border = _border(voxels)
    value, share = _commonest(border, same)
    covered = float(_is(voxels, value, same).mean())
    if share >= BORDER_SHARE and covered >= VOLUME_SHARE:
        return _described(voxels, value, same)
    if share >= DOUBT_SHARE and covered >= DOUBT_SHARE and dips(voxels, value):
        raise UserError(
            f"{name}: {share:.0%} of its border is {value:.6g}, with much below it: background or not? "
            f"Give {OPTION}={value:.6g}, or {OPTION}={MINIMUM}"
        )
    middle = _middle_of_noise(border, voxels) if share < DOUBT_SHARE else None
    if middle is not None and dips(voxels, middle):
        raise UserError(
            f"{name}: its border lies about {middle:.6g}, with much below it, and no value of it is the background's "
            f"alone; set the background to one value, or give {OPTION}={MINIMUM}"
        )
    return None


def _border(voxels: np.ndarray) -> np.ndarray:
    """The pixels of the first and last row and column of every slice."""
    return np.concatenate(
        [
            voxels[..., 0, :].ravel(),
            voxels[..., -1, :].ravel(),
            voxels[..., 1:-1, 0].ravel(),
            voxels[..., 1:-1, -1].ravel(),
        ]
    )


def _middle_of_noise(border: np.ndarray, voxels: np.ndarray) -> float | None:
    """What the border's pixels lie about, where they differ little beside what the volume holds."""
    first, middle, last = np.quantile(border, (0.1, 0.5, 0.9))
    lowest, highest = np.quantile(voxels, (0.01, 0.99))
    return float(middle) if last - first <= NOISE * (highest - lowest) else None


def _commonest(values: np.ndarray, same: float) -> tuple[float, float]:
    """The value that most have, up to `same`, and their share."""
    found, place, counts = np.unique(np.rint(values / same), return_inverse=True, return_counts=True)
    most = int(counts.argmax())
    return float(np.median(values[place.ravel() == most])), float(counts[most] / len(values))


def _is(voxels: np.ndarray, value: float, same: float) -> np.ndarray:
    return np.abs(voxels - value) <= same


def _asked(voxels: np.ndarray, value: float, same: float, name: str) -> Background:
    if not _is(voxels, value, same).any():
        raise UserError(
            f"{name}: no voxel is {value:g}, which {OPTION} names as the background; values are "
            f"{float(voxels.min()):.6g} to {float(voxels.max()):.6g}"
        )
    return _described(voxels, value, same)


def _described(voxels: np.ndarray, value: float, same: float) -> Background:
    brain = voxels[~_is(voxels, value, same)]
    if not dips(voxels, value) and not _is_far(brain, value):
        return Background(value, value, value)
    low, high = float(brain.min()), float(brain.max())
    return Background(value, low - GAP * max(high - low, same), low)


def _is_far(brain: np.ndarray, value: float) -> bool:
    """Whether a background lies so far below the brain that beside it the brain has hardly any contrast."""
    first, last = np.quantile(brain, (0.01, 0.99)) if brain.size else (value, value)
    return bool(first < last and first - value > FAR * (last - first))


def dips(voxels: np.ndarray, value: float) -> bool:
    """Whether more of `voxels`, of any shape, lies below `value`, and deeper, than the undershoot of resampling."""
    if not (voxels < value).any():  # most volumes; the rest takes a while
        return False
    brain = voxels[voxels != value]
    first, last = np.quantile(brain, (0.01, 0.99))
    height = max(last - value, value - first)
    return bool((brain < value - DEEP * height).mean() > DEEP_SHARE)


def darkened(voxels: np.ndarray, background: Background | None) -> np.ndarray:
    """`voxels` with their `background` below all else; as they are where it is so already, or where there is none.

    Type and units are kept.
    """
    if background is None or not background.is_moved:
        return voxels
    same = SAME * float(voxels.max() - voxels.min())
    return np.where(_is(voxels, background.value, same), voxels.dtype.type(background.moved_to), voxels)


def restored(voxels: np.ndarray, background: Background | None) -> np.ndarray:
    """Undoes `darkened`, also after a lossy way.

    Of `voxels`, what is nearer to the moved `background` than to the brain becomes background.
    """
    if background is None or not background.is_moved:
        return voxels
    return np.where(voxels < (background.moved_to + background.brain) / 2, voxels.dtype.type(background.value), voxels)


def parse(text: str) -> str | float:
    """`auto`, `minimum` or a number, from the `text` that an option gives.

    Raises:
      UserError: anything else.
    """
    if text in (AUTO, MINIMUM):
        return text
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise UserError(f"{OPTION}={text}: give {AUTO}, {MINIMUM} or a number, the value of the background")
    return value
