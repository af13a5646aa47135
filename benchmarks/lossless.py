"""Lossless archives of every pair of series below a folder, beside what else keeps both series.

    pip install 'fusioninn_jax[bench]' && python benchmarks/lossless.py FOLDER [--preview LEVELS]

Three tables. Sizes in MB: both sources by gzip -9, xz, JPEG-LS, JPEG 2000 and JPEG XL (effort 7), the last three slice
by slice, and the archive. Its parts: picture as it is stored, series 1 and 2 without the tables of coefficients, these
tables, the rest (record, header); beside them the picture in JPEG XL, and an entropy estimated for picture and series
apart from the codec (`lossless_entropy`). Last: voxels that differ after decoding, seconds to write (checked) and to
read, without the start of Python, and the most memory of each of the two commands, a process each.
"""

from __future__ import annotations

import argparse
import gzip
import lzma
import multiprocessing
import os
import pathlib
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import imagecodecs
import nibabel as nib
import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

from benchmarks import lossless_entropy, timing
from fusioninn_jax import decompose, fuse
from fusioninn_jax.formats import nifti
from fusioninn_jax.studies import archive, archive_format
from fusioninn_jax.studies.volume_codec import codec

PAIRS = (("_t1ce", "_flair"), ("_t1", "_t2"), ("-t1c", "-t2f"), ("-t1n", "-t2w"), ("_adc", "_dwi"))
PEERS = ("gzip -9", "xz", "JPEG-LS", "JPEG 2000", "JPEG XL")
SIZES = (*PEERS, "archive", "of JPEG XL", "of gzip")
PARTS = (
    "picture",
    "picture in JPEG XL",
    "picture, estimated",
    "series 1",
    "series 1, estimated",
    "series 2",
    "series 2, estimated",
    "tables",
    "rest",
)
COST = ("voxels that differ", "write s", "read s", "write MB", "read MB")
SPAWN = multiprocessing.get_context("spawn")


class Measured(NamedTuple):
    """A pair: bytes by PEERS and of the archive, bytes by PARTS, numbers by COST."""

    sizes: np.ndarray
    parts: np.ndarray
    cost: np.ndarray


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


def parts_of(path: pathlib.Path) -> np.ndarray:
    """Bytes by PARTS of an archive."""
    block = next(content for code, content in nifti.extensions(path) if content.startswith(archive_format.MAGIC))
    pieces = archive_format.unpack(block).pieces
    tables = [codec.table_bytes(piece) for piece in pieces[:2]]
    series = [len(pieces[i]) + len(pieces[2 + i]) - tables[i] for i in range(2)]
    picture = nifti.read(path).stored
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_FILTERED)
    deflated = len(deflate.compress(picture.tobytes())) + len(deflate.flush())
    jpeg_xl = sum(len(imagecodecs.jpegxl_encode(s, lossless=True, effort=7)) for s in picture)
    rest = path.stat().st_size - deflated - sum(series) - sum(tables)
    parts = [deflated, jpeg_xl, np.nan, series[0], np.nan, series[1], np.nan, sum(tables), rest]
    return np.array(parts, np.float64)


def estimates(path: pathlib.Path, sources: tuple[pathlib.Path, pathlib.Path]) -> list[float]:
    """Estimated bytes of the picture, of series 1 given it, of series 2 given both; NaN for floats."""
    volumes = [nifti.read(name).stored for name in (path, *sources)]
    if any(volume.dtype.kind == "f" for volume in volumes):
        return [np.nan] * 3
    return [lossless_entropy.estimate(volume, volumes[:i]) for i, volume in enumerate(volumes)]


def _command(main: Callable[[list[str]], int], argv: list[str], results: Any) -> None:
    """Runs a command in this process of its own; puts its seconds and its most memory in MB."""
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115  until the process ends
    start = time.monotonic()
    code = main(argv)
    results.put((code, time.monotonic() - start, timing.resident_mb(peak=True)))


def run(main: Callable[[list[str]], int], argv: list[str]) -> tuple[float, float]:
    """Seconds and MB of a command; raises SystemExit where it fails."""
    results = SPAWN.Queue()
    process = SPAWN.Process(target=_command, args=(main, argv, results))
    process.start()
    process.join()
    if process.exitcode or results.empty():
        raise SystemExit(f"a command failed: {argv}")
    code, seconds, peak = results.get()
    if code:
        raise SystemExit(f"a command failed: {argv}")
    return seconds, peak


def measure(paths: tuple[pathlib.Path, pathlib.Path], folder: pathlib.Path, preview: int) -> Measured:
    """Writes an archive and reads it."""
    path, out = folder / "archive.nii.gz", [folder / "1.nii", folder / "2.nii"]
    write = run(fuse.main, [*map(str, paths), "-o", str(path), "--lossless", "--preview", str(preview), "--overwrite"])
    read = run(decompose.main, [str(path), "-o", *map(str, out), "--overwrite"])
    differing = sum(
        int((nib.load(a).dataobj.get_unscaled() != nib.load(b).dataobj.get_unscaled()).sum())
        for a, b in zip(paths, out, strict=True)
    )
    parts = parts_of(path)
    parts[[2, 4, 6]] = estimates(path, paths)
    peers = np.sum([peer_sizes(name) for name in paths], 0)
    sizes = np.array([*peers, path.stat().st_size], np.float64)
    return Measured(sizes, parts, np.array([differing, write[0], read[0], write[1], read[1]]))


def sizes_row(sizes: np.ndarray) -> list[str]:
    """Cells of the first table."""
    ratios = [sizes[-1] / sizes[PEERS.index("JPEG XL")], sizes[-1] / sizes[0]]
    return [f"{value / 1e6:.3f}" for value in sizes] + [f"{ratio:.3f}" for ratio in ratios]


def cost_row(cost: np.ndarray) -> list[str]:
    """Cells of the last table."""
    return [f"{cost[0]:.0f}", *(f"{value:.1f}" for value in cost[1:3]), *(f"{value:.0f}" for value in cost[3:])]


def main() -> None:
    """Prints the tables with a line for each pair, numbered: file names may name patients."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--preview", type=int, default=archive.GREY_LEVELS)
    args = parser.parse_args()
    rows: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as folder, timing.watched():
        for number, paths in enumerate(find_pairs(args.folder), 1):
            kinds = [path.name.removesuffix(".nii.gz").replace("_", "-").rsplit("-", 1)[-1] for path in paths]
            name = f"{number} {'+'.join(kinds)}"
            rows[name] = measure(paths, pathlib.Path(folder), args.preview)
            told = [*sizes_row(rows[name].sizes), *rows[name].parts.round(), *cost_row(rows[name].cost)]
            print(name, *told, file=sys.stderr, flush=True)
    whole = [measured for measured in rows.values() if np.isfinite(measured.sizes).all()]
    total = Measured(*(np.sum([measured[i] for measured in whole], 0) for i in range(3)))
    total.cost[1:] /= len(whole)
    last = f"all {len(whole)} of integers"
    timing.print_table(["MB", *SIZES], [[n, *sizes_row(m.sizes)] for n, m in {**rows, last: total}.items()])
    print()
    timing.print_table(
        ["MB", *PARTS], [[n, *(f"{v / 1e6:.3f}" for v in m.parts)] for n, m in {**rows, last: total}.items()]
    )
    print()
    timing.print_table(["pair", *COST], [[n, *cost_row(m.cost)] for n, m in {**rows, f"{last}, means": total}.items()])


if __name__ == "__main__":
    main()
