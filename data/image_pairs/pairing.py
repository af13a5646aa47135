"""Which images of several folders belong together, and one such set as arrays."""
from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from data.splits import preview
from fusioninn_jax.formats import image_io
from fusioninn_jax.runtime.errors import UserError

ENDINGS = (".png", ".tif", ".tiff")


class ImageSet(NamedTuple):
    """Images of one scene.

    Attributes:
      sources: (H, W, M) float32, grey values or luma in the units of the files.
      chroma: (H, W, 2) float32, of the first source that has colour; (0, 0, 2) where none has.
    """
    sources: np.ndarray
    chroma: np.ndarray


def find_sets(folders: Sequence[pathlib.Path]) -> dict[str, tuple[pathlib.Path, ...]]:
    """Images of the same name, without its ending, in two or more folders: name -> one file of each folder.

    Raises:
      UserError: fewer than two folders, a missing folder, no image, a name that is not in every folder or stands
        twice in one.
    """
    if len(folders) < 2:
        raise UserError("source: image pairs need two or more folders of equally named images; give --source for each")
    if len({folder.resolve() for folder in folders}) != len(folders):
        raise UserError(f"{folders[0]}: the same folder stands twice among the sources; name each once")
    listed = [_images(folder) for folder in folders]
    for folder, images in zip(folders, listed, strict=True):
        for other, others in zip(folders, listed, strict=True):
            alone = set(images) - set(others)
            if alone:
                raise UserError(f"{folder}: {len(alone)} of its images have no partner in {other} ({preview(alone)}); "
                                "give both the same name or remove them")
    return {name: tuple(images[name] for images in listed) for name in sorted(listed[0])}


def read_set(paths: Sequence[pathlib.Path]) -> ImageSet:
    """Reads the images of one scene; colour is split by ITU-R BT.601.

    Raises:
      UserError: an unreadable image, different sizes, negative pixels.
    """
    sources, chroma = [], np.zeros((0, 0, 2), np.float32)
    for path in paths:
        image = image_io.read_image(path)
        if (image < 0).any():
            raise UserError(f"{path}: negative pixels; shift the intensities to start at 0")
        if image.ndim == 3:
            image, found = _luma_chroma(image)
            chroma = found if not chroma.size else chroma
        sources.append(image.astype(np.float32))
        if sources[-1].shape != sources[0].shape:
            raise UserError(f"{path}: {_size(sources[-1])} pixels where {paths[0]} has {_size(sources[0])}; register "
                            "and resample the images to one grid")
    return ImageSet(np.stack(sources, axis=-1), chroma)


def _luma_chroma(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Grey saved as colour is grey, to the last bit, and has no chroma."""
    if (image[..., :1] == image).all():
        return image[..., 0], np.zeros((0, 0, 2), np.float32)
    return image_io.luma_chroma(image)


def _images(folder: pathlib.Path) -> dict[str, pathlib.Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give a folder of PNG or TIFF images")
    images: dict[str, pathlib.Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in ENDINGS or path.name.startswith("."):
            continue
        if path.stem in images:
            raise UserError(f"{path}: the name also stands in {images[path.stem].name}; keep one of them")
        images[path.stem] = path
    if not images:
        raise UserError(f"{folder}: no image found; put PNG or TIFF files right into this folder")
    return images


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"
