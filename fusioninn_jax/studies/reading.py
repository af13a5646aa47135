"""The series of a study, read together: one grid for all."""

from __future__ import annotations

import argparse
import functools
import pathlib
import sys
from collections.abc import Sequence

from fusioninn_jax.formats import dicom, files, grid, nifti
from fusioninn_jax.formats.series import Series, check_same_grid
from fusioninn_jax.runtime import cores
from fusioninn_jax.studies import regridding

MOST_SEEDS, MOST_SAMPLES = 2**63, 10_000


def seed(text: str) -> int:
    """The argument of --seed.

    Args:
      text: as it was given.

    Raises:
      ArgumentTypeError: no whole number from 0 to 2^63 - 1.
    """
    if not text.isdecimal() or not text.isascii() or int(text[:20]) >= MOST_SEEDS or len(text) > 19:
        raise argparse.ArgumentTypeError("a seed is a whole number from 0 to 2^63 - 1")
    return int(text)


def samples(text: str) -> int:
    """The argument of --samples.

    Args:
      text: as it was given.

    Raises:
      ArgumentTypeError: no whole number from 1 to 10 000.
    """
    if not text.isdecimal() or not text.isascii() or not 1 <= int(text[:6]) <= MOST_SAMPLES:
        raise argparse.ArgumentTypeError(f"at least 1 and at most {MOST_SAMPLES}")
    return int(text[:6])


def add_series_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that reads the series of a study.

    Args:
      parser: of the command.
    """
    parser.add_argument(
        "sources",
        nargs="*",
        type=pathlib.Path,
        metavar="SERIES",
        help="NIfTI (.nii, .nii.gz, .hdr/.img), .mgz, PNG, TIFF, JPEG, BMP or .npy file, or folder of a DICOM "
        "series; of a colour image the luma is fused, and its colours come back",
    )
    parser.add_argument("--resample", action="store_true", help="bring the other series to the grid of the first")
    parser.add_argument(
        "--fill-value",
        type=float,
        metavar="VALUE",
        help="voxels of this value (nan: all that are not "
        "finite) are missing ones, and become background, the smallest of the other values",
    )
    add_model_arguments(parser)


def add_model_arguments(parser: argparse.ArgumentParser, checkpoint: str = "folder of a training") -> None:
    """The arguments of every command that a model works for.

    Args:
      parser: of the command.
      checkpoint: which one is meant.
    """
    parser.add_argument("--checkpoint", help=f"{checkpoint}; default: the model that ships with the package")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that are there already")


def read_sources(
    paths: Sequence[pathlib.Path], *, keep_phi: bool = False, resample: bool = False, fill_value: float | None = None
) -> list[Series]:
    """The series of a study, on one grid: checked, or brought to that of the first.

    Args:
      paths: the files and folders.
      keep_phi: keep what may name the patient.
      resample: bring the others to the grid of the first.
      fill_value: of missing voxels, which become background.

    Raises:
      UserError: a series that cannot be read, or different grids without `resample`.
    """
    read = functools.partial(files.read, keep_phi=keep_phi, fill_value=fill_value)
    with cores.pool() as pool:  # decompressing leaves Python's lock to others
        sources = list(pool.map(read, paths))
    if resample:
        sources = sources[:1] + [regridding.resample(source, sources[0]) for source in sources[1:]]
    _tell_plane(paths[0], sources[0])
    for path, source in zip(paths[1:], sources[1:], strict=True):
        check_same_grid(sources[0], source, str(paths[0]), str(path))
    return sources


def _tell_plane(path: pathlib.Path, series: Series) -> None:
    """A note where slices are not axial."""
    plane = grid.plane(series.affine)
    if series.origin["kind"] in (nifti.KIND, dicom.KIND) and plane != "axial":
        print(
            f"{path}: acquired in {plane} slices ({series.grid.spacing[2]:.3g} mm apart); it is fused in those",
            file=sys.stderr,
        )
