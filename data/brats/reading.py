"""The voxels of one subject as axial slices, checked; annotations brought to the labels of BraTS 2018."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from data.brats.layouts import MODALITIES, MSD_CHANNELS
from data.brats.naming import Subject
from fusioninn_jax.anatomy import regions
from fusioninn_jax.anatomy.brain import inside
from fusioninn_jax.formats import background, hdf5, volume_io
from fusioninn_jax.formats.grid import check_same
from fusioninn_jax.formats.series import flattening
from fusioninn_jax.runtime.errors import UserError

LABEL_NAMES = {str(label): name for label, name in regions.LABEL_NAMES.items()}
HDF5_SHAPE = (len(MODALITIES), 240, 240)
HDF5_CHANNELS = {"t1gd": 2, "flair": 3}
HDF5_ROWS = 64  # rows in memory at a time, 59 MB


class Slices(NamedTuple):
    """Consecutive axial slices.

    Attributes:
      sources: (N, H, W, M) float32, units of the file above the background's value, which is 0; what lies below it
        is clipped to 0 where it is undershoot of resampling, and else kept (see `formats.background`).
      mask: (N, H, W, 1) uint8, labels of BraTS 2018, 0 where there is no annotation.
      subjects: N names of subjects.
      first: slice number of the first one.
      spacing: mm between rows and between columns.
      negative: how many voxels were clipped.
      backgrounds: modality -> value of its background, where it is not 0 or parts of the brain lie below it.
      digests: one a modality, of the volume's values; copies of a volume have the same.
    """

    sources: np.ndarray
    mask: np.ndarray
    subjects: Sequence[str]
    first: int
    spacing: tuple[float, float]
    negative: int
    backgrounds: dict[str, float] = {}
    digests: tuple[str, ...] = ()


def read_slices(
    subject: Subject,
    modalities: Sequence[str],
    *,
    strict: bool,
    backgrounds: Sequence[str | float] = (background.AUTO,),
) -> Iterator[Slices]:
    """Yields all slices of a subject: one block for NIfTI, several for HDF5.

    Args:
      subject: whose.
      modalities: canonical names, in the order of the channels.
      strict: negative voxels are an error.
      backgrounds: as `background.find` takes them, one for each modality or one for all.

    Raises:
      UserError: a modality is missing, a file is unreadable or off the others' grid, labels are unknown, voxels are
        NaN or infinite, or negative under `strict`, or the background cannot be told, or is asked for of HDF5.
    """
    if subject.generation == "hdf5":
        if any(asked != background.AUTO for asked in backgrounds):
            raise UserError(f"{background.OPTION}: in {subject.images['all']} the background is 0; leave it out")
        yield from _hdf5_slices(subject, modalities, strict)
        return
    volumes, names = _volumes(subject, modalities)
    _check(volumes, names, strict)
    asked = backgrounds if len(backgrounds) > 1 else [backgrounds[0]] * len(modalities)
    scaled = [
        _above_background(volume_io.slices_first(volume), *of)
        for volume, *of in zip(volumes, asked, names, strict=True)
    ]
    mask = _mask(subject, volumes[0], names[0])[..., np.newaxis]
    x, y, _ = volumes[0].grid.spacing.tolist()
    told = {modality: found for modality, (_, _, found) in zip(modalities, scaled, strict=True) if found is not None}
    yield Slices(
        np.stack([image for image, _, _ in scaled], axis=-1),
        mask,
        [subject.name] * len(mask),
        0,
        (y, x),
        sum(clipped for _, clipped, _ in scaled),
        told,
        tuple(map(_digest, volumes)),
    )


def _check(volumes: Sequence[volume_io.Volume], names: Sequence[str], strict: bool) -> None:
    """Raises UserError where the volumes of a subject do not lie on one grid, or hold what cannot be scaled."""
    for volume, name in zip(volumes, names, strict=True):
        if (extreme := flattening(volume.voxels)) is not None:
            raise UserError(
                f"{name}: holds {extreme!r}, beside which all else is flat; mend it, or leave this subject out"
            )
    for volume, name in zip(volumes[1:], names[1:], strict=True):
        check_same(volumes[0].grid, volume.grid, names[0], name)
    counts = [int((volume.voxels < 0).sum()) for volume in volumes]
    if strict and any(counts):
        worst = int(np.argmax(counts))
        raise UserError(f"{names[worst]}: {counts[worst]} negative voxels; clip them, or prepare without --strict")


def _above_background(image: np.ndarray, asked: str | float, name: str) -> tuple[np.ndarray, int, float | None]:
    """(Z, H, W) with the background at 0 and nothing below, how much was clipped, and the background if it is told."""
    found = background.find(image, asked, name)
    if found is None and background.dips(image, 0.0):
        raise UserError(
            f"{name}: {(image < 0).mean():.0%} of its voxels are negative, and no value of its border "
            f"stands out as the background; give {background.OPTION}={background.MINIMUM}, or the value "
            "that it has"
        )
    if found is None or (found.value == 0 and not found.is_moved):
        return np.maximum(image, 0), int((image < 0).sum()), None
    moved = background.darkened(image, found) - np.float32(found.moved_to)
    return np.maximum(moved, 0), int((moved < 0).sum()), found.value


def _digest(volume: volume_io.Volume) -> str:
    """Of the values in LPS order, whatever their type or order in the file; '' for a constant volume."""
    values = np.ascontiguousarray(volume.voxels, "<f4") + np.float32(0)  # -0 is 0
    if values.min() == values.max():
        return ""
    return hashlib.blake2b(values.tobytes(), digest_size=16, person=str(values.shape).encode()[:16]).hexdigest()


def keep(slices: Slices, *, annotated: bool, required_labels: Sequence[int], min_brain_fraction: float) -> np.ndarray:
    """Which `slices` become examples: (N,) bool.

    An `annotated` slice must hold all `required_labels`; without annotation, or with no label required, at least
    `min_brain_fraction` of its pixels must be brain (any source > 0). A slice without brain is never kept.
    """
    brain = inside(slices.sources).mean(axis=(1, 2, 3))
    if annotated and required_labels:
        holds = [(slices.mask == label).any(axis=(1, 2, 3)) for label in required_labels]
        return np.logical_and.reduce(holds) & (brain > 0)
    return (brain >= min_brain_fraction) & (brain > 0)


def _volumes(subject: Subject, modalities: Sequence[str]) -> tuple[list[volume_io.Volume], list[str]]:
    """The volumes of a subject in the order of the modalities, and what to call each in a message."""
    if subject.generation == "msd":
        if "all" not in subject.images:
            raise UserError(f"{subject.annotation}: no image of the same name in imagesTr; restore it or remove both")
        path = subject.images["all"]
        image = volume_io.read_nifti(path, ndim=4)
        if image.voxels.shape[-1] != len(MSD_CHANNELS):
            raise UserError(
                f"{path}: {image.voxels.shape[-1]} channels where {len(MSD_CHANNELS)} are expected "
                f"({', '.join(MSD_CHANNELS)}); use the file that MSD published"
            )
        voxels = [image.voxels[..., MSD_CHANNELS.index(modality)] for modality in modalities]
        return [image._replace(voxels=v) for v in voxels], [f"{path} ({modality})" for modality in modalities]
    missing = [modality for modality in modalities if modality not in subject.images]
    if missing:
        files = [*subject.images.values(), *([subject.annotation] if subject.annotation else [])]
        raise UserError(
            f"{subject.folder}: {subject.name} has no {' and no '.join(missing)}; it has "
            f"{', '.join(sorted(file.name for file in files))}; add the file, choose other modalities or "
            "skip such subjects with --skip_bad"
        )
    paths = [subject.images[modality] for modality in modalities]
    return [volume_io.read_nifti(path) for path in paths], [str(path) for path in paths]


def _mask(subject: Subject, image: volume_io.Volume, image_name: str) -> np.ndarray:
    """(Z, Y, X) uint8 labels of BraTS 2018."""
    path = subject.annotation
    if path is None:
        return np.zeros_like(volume_io.slices_first(image), np.uint8)
    if "-PED-" in subject.name:
        raise UserError(
            f"{path}: the numbering of BraTS-PED's labels differs between its years and cannot be told "
            "from the file; renumber them as BraTS 2018 does and rename, or remove the annotation"
        )
    annotation = volume_io.read_nifti(path)
    check_same(image.grid, annotation.grid, image_name, str(path))
    labels, table = volume_io.slices_first(annotation), regions.COLLECTIONS[subject.generation]
    mask = np.zeros(labels.shape, np.uint8)
    for value in np.unique(labels).tolist():
        if value not in table:
            raise UserError(
                f"{path}: holds label {value:g}, known in this naming are {', '.join(map(str, table))}; "
                "correct the annotation, or rename the files as the BraTS generation whose labels they are"
            )
        mask[labels == value] = table[int(value)]
    return mask


def _hdf5_slices(subject: Subject, modalities: Sequence[str], strict: bool) -> Iterator[Slices]:
    path = subject.images["all"]
    unknown = [modality for modality in modalities if modality not in HDF5_CHANNELS]
    if unknown:
        raise UserError(
            f"{path}: which channel is {unknown[0]} is not known; of these files only "
            f"{' and '.join(HDF5_CHANNELS)} can be read"
        )
    length = hdf5.hdf5_length(path, HDF5_SHAPE)
    for start in range(0, length, HDF5_ROWS):
        rows = hdf5.read_hdf5(path, start, min(start + HDF5_ROWS, length))
        sources = np.stack([rows[:, HDF5_CHANNELS[modality]] for modality in modalities], axis=-1)
        negative = int((sources < 0).sum())
        if strict and negative:
            raise UserError(
                f"{path}: {negative} negative voxels in rows {start}-{start + len(rows) - 1}; clip them, "
                "or prepare without --strict"
            )
        subjects = [f"{subject.name}:{start + i:05d}" for i in range(len(rows))]
        yield Slices(
            np.maximum(sources, 0), np.zeros((*sources.shape[:3], 1), np.uint8), subjects, start, (1.0, 1.0), negative
        )
