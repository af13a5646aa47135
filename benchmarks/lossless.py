"""Lossless archives of every pair of series below a folder: sizes beside the gzipped sources, voxels that differ.

    python benchmarks/lossless.py FOLDER
"""
from __future__ import annotations

import argparse
import pathlib
import tempfile
import time

import nibabel as nib
import numpy as np

from fusioninn_jax import decompose, fuse

PAIRS = (("_t1ce", "_flair"), ("_t1", "_t2"), ("-t1c", "-t2f"), ("-t1n", "-t2w"), ("_adc", "_dwi"))


def find_pairs(root: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Every two files of one folder whose names differ by a pair of PAIRS alone."""
    found = []
    for first, second in PAIRS:
        for path in sorted(root.rglob(f"*{first}.nii.gz")):
            partner = path.with_name(path.name.replace(f"{first}.nii.gz", f"{second}.nii.gz"))
            if partner.exists():
                found.append((path, partner))
    return found


def measure(paths: tuple[pathlib.Path, pathlib.Path], folder: pathlib.Path) -> tuple[int, int, int, float, float]:
    """(bytes of the sources, of the archive, differing voxels, seconds to fuse, seconds to decompose)."""
    archive, out = folder / "archive.nii.gz", [folder / "1.nii", folder / "2.nii"]
    times = [time.time()]
    fuse.main([*map(str, paths), "-o", str(archive), "--lossless", "--overwrite"])
    times.append(time.time())
    decompose.main([str(archive), "-o", *map(str, out), "--overwrite"])
    times.append(time.time())
    differing = sum(int((nib.load(a).dataobj.get_unscaled() != nib.load(b).dataobj.get_unscaled()).sum())
                    for a, b in zip(paths, out, strict=True))
    sources = sum(path.stat().st_size for path in paths)
    return sources, archive.stat().st_size, differing, *np.diff(times).tolist()


def main() -> None:
    """Prints a table with a line for each pair, numbered: file names may name patients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    pairs, rows = find_pairs(parser.parse_args().folder), []
    with tempfile.TemporaryDirectory() as folder:
        for number, paths in enumerate(pairs, 1):
            sources, archive, differing, *seconds = measure(paths, pathlib.Path(folder))
            kind = "+".join(path.name.removesuffix(".nii.gz").replace("_", "-").rsplit("-", 1)[-1] for path in paths)
            rows.append((sources, archive))
            print(f"| {number} {kind} | {sources / 1e6:.2f} | {archive / 1e6:.2f} | {archive / sources:.2f} | "
                  f"{differing} | {seconds[0]:.0f} | {seconds[1]:.0f} |", flush=True)
    sources, archive = np.sum(rows, 0)
    print(f"| all | {sources / 1e6:.2f} | {archive / 1e6:.2f} | {archive / sources:.2f} | | | |")


if __name__ == "__main__":
    main()
