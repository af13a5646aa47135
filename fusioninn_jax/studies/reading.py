"""The series of a study, read together: one grid for all."""
from __future__ import annotations

import argparse
import pathlib
from collections.abc import Sequence

from fusioninn_jax.formats import files
from fusioninn_jax.formats.series import Series, check_same_grid
from fusioninn_jax.studies import regridding


def add_series_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of every command that reads the series of a study."""
    parser.add_argument("sources", nargs="*", type=pathlib.Path, metavar="SERIES",
                        help="NIfTI, PNG, TIFF or .npy file, or folder of a DICOM series")
    parser.add_argument("--resample", action="store_true", help="bring the other series to the grid of the first")
    parser.add_argument("--checkpoint", help="folder of a training; default: the model that ships with the package")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that are there already")


def read_sources(paths: Sequence[pathlib.Path], *, keep_phi: bool = False, resample: bool = False) -> list[Series]:
    """The series of a study, on one grid: checked, or brought to that of the first.

    Raises:
      UserError: a series that cannot be read, or different grids without `resample`.
    """
    sources = [files.read(path, keep_phi=keep_phi) for path in paths]
    if resample:
        sources = sources[:1] + [regridding.resample(source, sources[0]) for source in sources[1:]]
    for path, source in zip(paths[1:], sources[1:], strict=True):
        check_same_grid(sources[0], source, str(paths[0]), str(path))
    return sources
