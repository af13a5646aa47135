"""Small synthetic studies and a small model for the tests of fuse, decompose and report."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import jax
import ml_collections
import nibabel as nib
import numpy as np

from fusioninn_jax import decompose, fuse, models, pretrained

RANGE = 1000  # of the intensities
TURN = np.radians(7)
AFFINE = np.array(
    [[-np.cos(TURN), np.sin(TURN), 0, 20], [np.sin(TURN), np.cos(TURN), 0, -30], [0, 0, 2.5, 7], [0, 0, 0, 1]]
)


def save_model(folder: pathlib.Path, seed: int = 0, sources: int = 2) -> pathlib.Path:
    """A FusionINN of a few hundred parameters, away from the identity at which training starts."""
    config = ml_collections.ConfigDict(
        {
            "model": {"name": "fusioninn", "fusioninn": {"widths": (3,), "blocks": 2, "sources": sources}},
            "prior": "normal",
            "modalities": (),
        }
    )
    model = models.get("fusioninn", config.model.fusioninn)
    image = np.full((1, 8, 8, 1), 0.5, np.float32)
    variables = jax.jit(model.init)(jax.random.key(seed), *[image] * sources)
    rng = np.random.default_rng(seed)
    variables = jax.tree.map(lambda x: np.asarray(x + 0.1 * rng.standard_normal(np.shape(x)), np.float32), variables)
    pretrained.save(folder, variables, config)
    return folder


def voxels(seed: int, shape: tuple[int, int, int] = (9, 7, 5), dtype: str = "i2") -> np.ndarray:
    """(X, Y, Z) in the manner of MRI: a blank rim, an all-zero last slice, smooth-ish content, some negative voxels."""
    rng = np.random.default_rng(seed)
    x, y, _ = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    inside = (x**2 + y**2 < 0.9) & (np.arange(shape[2]) < max(1, shape[2] - 1))
    content = inside * (300 + 200 * x - 150 * y + 20 * rng.standard_normal(shape))
    content[tuple(n // 2 for n in shape)] = -7 if np.dtype(dtype).kind != "u" else 3
    return content.astype(dtype)


def save(path: pathlib.Path, data: np.ndarray, affine: np.ndarray = AFFINE, **fields: object) -> pathlib.Path:
    """A NIfTI file with header fields set."""
    image = nib.Nifti1Image(data, affine, dtype=data.dtype)
    image.header.set_xyzt_units("mm")
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


def stored(path: pathlib.Path) -> np.ndarray:
    """The voxels of a NIfTI file as they stand in it."""
    return np.asarray(nib.load(path).dataobj.get_unscaled())


def run_fuse(model: pathlib.Path, *arguments: object) -> None:
    """`fuse` with a model, which must succeed."""
    assert fuse.main([*map(str, arguments), "--checkpoint", str(model)]) == 0


def run_decompose(model: pathlib.Path, *arguments: object) -> None:
    """`decompose` with a model, which must succeed."""
    assert decompose.main([*map(str, arguments), "--checkpoint", str(model)]) == 0


def archive_of(
    folder: pathlib.Path, sources: Sequence[pathlib.Path], *arguments: object, name: str = "study.nii.gz"
) -> pathlib.Path:
    """Writes the archive of some series."""
    path = folder / name
    assert fuse.main([*map(str, sources), "-o", str(path), "--lossless", *map(str, arguments)]) == 0
    return path


def unpacked(path: pathlib.Path, count: int) -> list[pathlib.Path]:
    """Decomposes an archive, which needs nothing but itself."""
    out = [path.with_name(f"out{i}.nii") for i in range(count)]
    assert decompose.main([str(path), "-o", *map(str, out), "--overwrite"]) == 0
    return out
