"""Tiny synthetic patients and images, written as the real collections are; nothing here comes from a person."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence

import h5py
import nibabel as nib
import numpy as np

SHAPE = (24, 20, 6)  # x, y, z
LPS_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
LPS_AFFINE[:3, 3] = (0, SHAPE[1] - 1, 0)  # as BraTS has it
TUMOUR_SLICES = (2, 3)  # where the annotation holds every label


def volume(seed: int) -> np.ndarray:
    """(24, 20, 6) int16: a block of brain, 200 of 480 pixels, in every slice but the last, which is empty."""
    voxels = np.zeros(SHAPE, np.int16)
    voxels[4:14, 0:20, :-1] = np.random.default_rng(seed).integers(1, 2000, (10, 20, SHAPE[2] - 1))
    return voxels


def annotation(labels: Sequence[int] = (1, 2, 4)) -> np.ndarray:
    """(24, 20, 6) uint8: one column of voxels per label in slices 2 and 3; slice 1 has the second label alone."""
    voxels = np.zeros(SHAPE, np.uint8)
    for column, label in enumerate(labels):
        voxels[5 + column, 3:6, list(TUMOUR_SLICES)] = label
    voxels[6, 3:6, 1] = labels[1]
    return voxels


def save(path: pathlib.Path, voxels: np.ndarray, affine: np.ndarray = LPS_AFFINE) -> pathlib.Path:
    """Writes a NIfTI file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def brats(
    folder: pathlib.Path,
    name: str,
    *,
    seed: int = 0,
    kinds: Sequence[str] = ("t1ce", "flair", "seg"),
    separator: str = "_",
    labels: Sequence[int] = (1, 2, 4),
) -> dict[str, pathlib.Path]:
    """One subject in BraTS naming; each modality has voxels of its own. Returns its files by kind."""
    return {
        kind: save(
            folder / name / f"{name}{separator}{kind}.nii.gz",
            annotation(labels) if kind == "seg" else volume(100 * seed + i),
        )
        for i, kind in enumerate(kinds)
    }


def msd(
    folder: pathlib.Path,
    number: int,
    *,
    channels: Sequence[str] = ("FLAIR", "T1w", "t1gd", "T2w"),
    labels: Mapping[str, str] | None = None,
) -> None:
    """One subject of MSD Task01 and its dataset.json; channel c has the voxels of `volume(10 * number + c)`."""
    voxels = np.stack([volume(10 * number + channel) for channel in range(4)], axis=-1)
    save(folder / "imagesTr" / f"BRATS_{number:03d}.nii.gz", voxels)
    save(folder / "labelsTr" / f"BRATS_{number:03d}.nii.gz", annotation((1, 2, 3)))
    labels = labels or {"0": "background", "1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
    described = {"modality": {str(i): channel for i, channel in enumerate(channels)}, "labels": dict(labels)}
    (folder / "dataset.json").write_text(json.dumps(described))


def hdf5(path: pathlib.Path, rows: int, seed: int = 0) -> np.ndarray:
    """The authors' file, (rows, 4, 240, 240); the last row is empty. Returns what was written."""
    data = np.zeros((rows, 4, 240, 240), np.float32)
    data[:-1, :, 60:180, 60:180] = np.random.default_rng(seed).integers(1, 3000, (rows - 1, 4, 120, 120))
    with h5py.File(path, "w") as file:
        file.create_dataset("data", data=data, compression="gzip", compression_opts=1)
    return data
