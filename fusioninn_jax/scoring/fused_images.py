"""Images that another method fused, as `evaluate --fused-dir` finds them in a folder."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from fusioninn_jax.formats import image_io
from fusioninn_jax.runtime.errors import UserError

RAW_MARGIN = 0.5  # so far a raw fused image of floats may leave [0, 1]
DARK = 0.07  # of the range: where no pixel of any image gets there, the range is another (12 bits in 16, 8 in 16, ...)


class Range(NamedTuple):
    """The values that stand for black and white."""

    black: float
    white: float


def parse_range(text: str) -> Range:
    """Reads `text`, `BLACK,WHITE` as the option gives it.

    Raises:
      UserError: anything else.
    """
    try:
        black, white = map(float, text.split(","))
    except ValueError:
        black = white = 0.0
    if not (np.isfinite([black, white]).all() and white > black):
        raise UserError(f"--fused-range={text}: give black and white, such as 0,255")
    return Range(black, white)


class FusedFolder:
    """A folder with an image for every slice of a split.

    Args:
      folder: where they lie.
      given: black and white; None: of integers those of their type, of floats 0 and 1.

    Raises:
      UserError: no such folder, or two images for one name.
    """

    def __init__(self, folder: pathlib.Path, given: Range | None = None) -> None:
        if not os.path.isdir(folder):
            raise UserError(f"{folder}: no such folder; give --fused-dir=NAME=FOLDER")
        self._folder, self._given = folder, given
        self._files: dict[str, pathlib.Path] = {}
        self._others: list[str] = []
        self._used: set[str] = set()
        self.peaks: dict[str, float] = {}  # type -> brightest pixel so far, in parts of white
        for path in sorted(path for path in folder.iterdir() if not path.name.startswith(".")):
            if path.suffix.lower() not in image_io.ENDINGS:
                self._others.append(path.name)
            elif path.stem in self._files:
                raise UserError(f"{path}: the same slice also stands in {self._files[path.stem].name}; keep one")
            else:
                self._files[path.stem] = path

    def read(self, name: str, size: tuple[int, ...]) -> np.ndarray:
        """The fused image of a slice; of a coloured one its luma.

        Args:
          name: of the slice, which is that of its file without the ending.
          size: (H, W) of the sources.

        Returns:
          (H, W, 1) float32, about [0, 1].

        Raises:
          UserError: it is missing, of another size, or in another range.
        """
        path = self._files.get(name)
        if path is None:
            raise UserError(
                f"{self._folder}: has no {name}.png (or .tif); every slice of the split needs its fused image"
            )
        self._used.add(name)
        image = image_io.read_image(path)
        kind = image.dtype.name
        whole = None if np.issubdtype(image.dtype, np.floating) else float(np.iinfo(image.dtype).max)
        image = image_io.luma_chroma(image)[0] if image.ndim == 3 else image.astype(np.float32)
        if image.shape != size:
            raise UserError(
                f"{path}: is {image.shape[0]}x{image.shape[1]}, the sources are {size[0]}x{size[1]}; "
                "save the fused image at its sources' size"
            )
        black, white = self._given or Range(0.0, whole or 1.0)
        image = (image - np.float32(black)) / np.float32(white - black)
        low, high = float(image.min()), float(image.max())
        if low < -RAW_MARGIN or high > 1 + RAW_MARGIN:
            raise UserError(
                f"{path}: values from {black + low * (white - black):.6g} to "
                f"{black + high * (white - black):.6g} where {black:g} is black and {white:g} white; say "
                "which values are by --fused-range=BLACK,WHITE, e.g. 0,255"
            )
        self.peaks[kind] = max(self.peaks.get(kind, 0.0), high)
        return image[..., None]

    def check_brightness(self, peaks: Iterable[Mapping[str, float]]) -> None:
        """Raises UserError where the brightest pixel of all images of one type is dark; `peaks` of each process."""
        highest: dict[str, float] = {}
        for of_process in peaks:
            highest |= {kind: max(peak, highest.get(kind, 0.0)) for kind, peak in of_process.items()}
        kind, peak = min(highest.items(), key=lambda item: item[1] or 1.0, default=("", 0.0))
        if 0 < peak < DARK and self._given is None:
            raise UserError(
                f"{self._folder}: no pixel of any image is brighter than {peak:.2%} of what {kind} can, "
                "as of 12 bits kept in 16; say which values are black and white by "
                "--fused-range=BLACK,WHITE, e.g. 0,4095"
            )

    def passed_over(self) -> list[str]:
        """Names of files that no slice of the split asked for."""
        return sorted(self._others + [path.name for name, path in self._files.items() if name not in self._used])
