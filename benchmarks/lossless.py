"""Lossless archives of every pair of series below a folder, beside what else keeps both series.

    pip install 'fusioninn_jax[bench]' && python benchmarks/lossless.py FOLDER [--preview LEVELS]

Sizes in MB: both sources by gzip -9, xz, JPEG-LS, JPEG 2000 and JPEG XL (effort 7), the last three slice by slice; the
archive and its parts: picture as it is stored, series 1, series 2, the rest (record, header); the picture in JPEG XL.
Voxels that differ after decoding, seconds to write (checked) and to read.
"""

from __future__ import annotations

import argparse
import gzip
import lzma
import pathlib
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import NamedTuple

import imagecodecs
import nibabel as nib
import numpy as np

from fusioninn_jax import decompose, fuse
from fusioninn_jax.formats import nifti
from fusioninn_jax.studies import archive, archive_format

PAIRS = (("_t1ce", "_flair"), ("_t1", "_t2"), ("-t1c", "-t2f"), ("-t1n", "-t2w"), ("_adc", "_dwi"))
PEERS = ("gzip -9", "xz", "JPEG-LS", "JPEG 2000", "JPEG XL")
COLUMNS = (
    "pair",
    *PEERS,
    "archive",
    "picture",
    "series 1",
    "series 2",
    "rest",
    "picture in JPEG XL",
    "of JPEG XL",
    "of gzip",
    "differ",
    "write s",
    "read s",
)


class Parts(NamedTuple):
    """Bytes of an archive."""

    whole: int
    picture: int
    first: int
    second: int
    picture_jpeg_xl: int


def find_pairs(root: pathlib.Path) -> list[tuple[pathlib.Path, pathlib.Path]]:
    """Every two files of one folder whose names differ by a pair of PAIRS alone."""
    found = []
    for first, second in PAIRS:
        for path in sorted(root.rglob(f"*{first}.nii.gz")):
            partner = path.with_name(path.name.replace(f"{first}.nii.gz", f"{second}.nii.gz"))
            if partner.exists():
                found.append((path, partner))
    return found


def peer_sizes(path: pathlib.Path) -> np.ndarray:
    """Bytes of a series by each of PEERS; NaN where a codec does not take its type."""
    stored = nifti.read(path).stored
    content = stored.tobytes()
    sizes = [float(len(gzip.compress(content, 9))), float(len(lzma.compress(content)))]
    if stored.dtype.kind == "f":
        return np.array([*sizes, np.nan, np.nan, np.nan])
    slices = (stored.astype(np.int64) - int(stored.min())).astype(np.uint16)
    codecs: tuple[Callable[[np.ndarray], bytes], ...] = (
        imagecodecs.jpegls_encode,
        lambda s: imagecodecs.jpeg2k_encode(s, level=0, reversible=True),
        lambda s: imagecodecs.jpegxl_encode(s, lossless=True, effort=7),
    )
    return np.array([*sizes, *(float(sum(len(encode(s)) for s in slices)) for encode in codecs)])


def parts_of(path: pathlib.Path) -> Parts:
    """What the parts of an archive take."""
    block = next(content for code, content in nifti.extensions(path) if content.startswith(archive_format.MAGIC))
    sizes = [len(piece) for piece in archive_format.unpack(block).pieces]
    picture = nifti.read(path).stored
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
    deflated = len(deflate.compress(picture.tobytes())) + len(deflate.flush())
    jpeg_xl = sum(len(imagecodecs.jpegxl_encode(s, lossless=True, effort=7)) for s in picture)
    return Parts(path.stat().st_size, deflated, sizes[0] + sizes[2], sizes[1] + sizes[3], jpeg_xl)


def measure(
    paths: tuple[pathlib.Path, pathlib.Path], folder: pathlib.Path, preview: int
) -> tuple[Parts, int, list[float]]:
    """Bytes of the archive's parts, differing voxels, seconds to write and to read."""
    path, out, times = folder / "archive.nii.gz", [folder / "1.nii", folder / "2.nii"], [time.time()]
    fuse.main([*map(str, paths), "-o", str(path), "--lossless", "--preview", str(preview), "--overwrite"])
    times.append(time.time())
    decompose.main([str(path), "-o", *map(str, out), "--overwrite"])
    times.append(time.time())
    differing = sum(
        int((nib.load(a).dataobj.get_unscaled() != nib.load(b).dataobj.get_unscaled()).sum())
        for a, b in zip(paths, out, strict=True)
    )
    return parts_of(path), differing, np.diff(times).tolist()


def row(name: str, peers: np.ndarray, sizes: np.ndarray, differing: int, seconds: np.ndarray) -> str:
    """A line of the table."""
    whole, picture, first, second, jpeg_xl = sizes
    values = [*peers, whole, picture, first, second, whole - picture - first - second, jpeg_xl]
    megabytes = [f"{value / 1e6:.3f}" for value in values]
    ratios = [f"{whole / peers[PEERS.index('JPEG XL')]:.3f}", f"{whole / peers[0]:.3f}"]
    return "| " + " | ".join([name, *megabytes, *ratios, str(differing), *(f"{s:.1f}" for s in seconds)]) + " |"


def main() -> None:
    """Prints a table with a line for each pair, numbered: file names may name patients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--preview", type=int, default=archive.GREY_LEVELS)
    args = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for number, paths in enumerate(find_pairs(args.folder), 1):
            peers = np.sum([peer_sizes(path) for path in paths], 0)
            parts, differing, seconds = measure(paths, pathlib.Path(folder), args.preview)
            kind = "+".join(path.name.removesuffix(".nii.gz").replace("_", "-").rsplit("-", 1)[-1] for path in paths)
            print(row(f"{number} {kind}", peers, np.array(parts), differing, np.array(seconds)), flush=True)
            rows.append((peers, np.array(parts), differing, np.array(seconds)))
    whole = [r for r in rows if np.isfinite(r[0]).all()]
    print(row(f"all {len(whole)} of integers", *(sum(r[i] for r in whole) for i in range(4))))


if __name__ == "__main__":
    main()
