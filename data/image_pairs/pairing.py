"""Which images of several folders belong together, and one such set as arrays."""

from __future__ import annotations

import hashlib
import os
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data.splits import preview
from fusioninn_jax.formats import colour, image_io
from fusioninn_jax.runtime.errors import UserError

ENDINGS = tuple(image_io.ENDINGS)


class ImageSet(NamedTuple):
    """Images of one scene.

    Attributes:
      sources: (H, W, M) float32, grey values or luma in the units of the files.
      chroma: (H, W, 2) float32, of the source that has colour, in units of its file; of several coloured sources each
        pixel's mean, weighted by the distance from grey; (0, 0, 2) where none has colour.
      white: the value of white that goes with `chroma`, 0 where none has colour.
    """

    sources: np.ndarray
    chroma: np.ndarray
    white: float


def find_sets(folders: Sequence[pathlib.Path]) -> dict[str, tuple[pathlib.Path, ...]]:
    """Images of the same name, without its ending, in two or more folders: name -> one file of each folder.

    Raises:
      UserError: fewer than two folders, a missing folder, no image, a name that is not in every folder or stands
        twice in one.
    """
    if len(folders) < 2:
        raise UserError("source: image pairs need two or more folders of equally named images; give --source for each")
    if len({os.path.realpath(folder) for folder in folders}) != len(folders):
        raise UserError(f"{folders[0]}: the same folder stands twice among the sources; name each once")
    listed = [_images(folder) for folder in folders]
    for folder, images in zip(folders, listed, strict=True):
        for other, others in zip(folders, listed, strict=True):
            alone = set(images) - set(others)
            if alone:
                raise UserError(
                    f"{folder}: {len(alone)} of its images have no partner in {other} ({preview(alone)}); "
                    "give both the same name or remove them"
                )
    return {name: tuple(images[name] for images in listed) for name in sorted(listed[0])}


def read_set(paths: Sequence[pathlib.Path]) -> ImageSet:
    """Reads the images of one scene, one of `paths` for each source; colour is split by ITU-R BT.601.

    Raises:
      UserError: an unreadable image, different sizes, negative pixels.
    """
    sources: list[np.ndarray] = []
    colours: list[colour.Chroma | None] = []
    for path in paths:
        image = image_io.read_image(path)
        if (image < 0).any():
            raise UserError(f"{path}: negative pixels; shift the intensities to start at 0")
        luma, chroma = _luma_chroma(image)
        sources.append(luma)
        colours.append(chroma)
        if sources[-1].shape != sources[0].shape:
            raise UserError(
                f"{path}: {_size(sources[-1])} pixels where {paths[0]} has {_size(sources[0])}; register "
                "and resample the images to one grid"
            )
    return ImageSet(np.stack(sources, axis=-1), *_shared_chroma(colours, sources))


def _luma_chroma(image: np.ndarray) -> tuple[np.ndarray, colour.Chroma | None]:
    """Of what `image_io.read_image` gives: grey that was saved as colour is grey there already."""
    if image.ndim == 2:
        return image.astype(np.float32), None
    luma, chroma = colour.split(image)
    return luma[0], chroma


def _shared_chroma(colours: Sequence[colour.Chroma | None], lumas: Sequence[np.ndarray]) -> tuple[np.ndarray, float]:
    """The chroma of a set, and the value of white that goes with it."""
    coloured = [(chroma, luma) for chroma, luma in zip(colours, lumas, strict=True) if chroma]
    if not coloured:
        return np.zeros((0, 0, 2), np.float32), 0.0
    white = max(chroma.white(luma) for chroma, luma in coloured)
    if len(coloured) == 1:
        return coloured[0][0].values[0], white
    shared = colour.of_fused(colours, lumas)
    assert shared is not None
    return (shared[0] * white).astype(np.float32), white


def passed_over(folders: Sequence[pathlib.Path]) -> dict[str, str]:
    """Files and folders beside the images that are not read -> why."""
    return {
        str(path): "a folder within the source is not searched" if path.is_dir() else f"not one of {', '.join(ENDINGS)}"
        for folder in folders
        for path in sorted(folder.iterdir())
        if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() not in ENDINGS)
    }


def digests(images: ImageSet) -> set[str]:
    """A digest of each source of `images` that is not constant; copies of an image have the same."""
    planes = np.moveaxis(images.sources, -1, 0)
    return {
        hashlib.blake2b(
            np.ascontiguousarray(plane, "<f4").tobytes() + str(plane.shape).encode(), digest_size=16
        ).hexdigest()
        for plane in planes
        if plane.min() < plane.max()
    }


def _images(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of PNG, TIFF or JPEG images")
    images: dict[str, pathlib.Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in ENDINGS or path.name.startswith("."):
            continue
        if path.stem in images:
            raise UserError(f"{path}: the name also stands in {images[path.stem].name}; keep one of them")
        images[path.stem] = path
    if not images:
        raise UserError(f"{folder}: no image found; put PNG, TIFF or JPEG files right into this folder")
    return images


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
