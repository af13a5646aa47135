"""Memory that decompression bombs take: `python -m benchmarks.bombs [--size MB]`.

Each file is some kilobytes or megabytes, would become `--size`, and declares little, or declares much and holds
nothing. A process of its own reads each through the way that the commands take. Prints a Markdown table: what the file
has, declares and would become, how much resident memory reading it took beyond what the process had before, in MB, and
what came of it; exits 1 where that is more than 3 times what is declared and 200 MB.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import json
import lzma
import multiprocessing
import pathlib
import struct
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import nibabel as nib
import numpy as np
import tifffile

from benchmarks import timing
from fusioninn_jax import decompose, pretrained
from fusioninn_jax.formats import files, nifti
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import integer_codec
from tests.studies import cases

FORK = multiprocessing.get_context("fork")
VERSION_1 = pathlib.Path(__file__).resolve().parents[1] / "tests/golden/archive_version_1.nii.gz"
MB = 1 << 20
TIMES, SPARE = 3, 200  # of what is declared; MB


class Bomb(NamedTuple):
    """A file, the bytes that it declares and would become, and what reads it."""

    path: pathlib.Path
    declared: int
    becomes: int
    read: Callable[[pathlib.Path], Any] = files.read


def zeros(size: int, squeeze: Any) -> bytes:
    """`size` zeros, compressed piece by piece by an object with `compress` and `flush`."""
    return b"".join([*(squeeze.compress(bytes(MB)) for _ in range(size // MB)), squeeze.flush()])


def gzipped(content: bytes, size: int) -> bytes:
    """A gzip file of content and `size` zeros."""
    return gzip.compress(content) + zeros(size, zlib.compressobj(9, zlib.DEFLATED, 31))


def nifti_bombs(root: pathlib.Path, size: int) -> list[Bomb]:
    """Behind the voxels, instead of a header, in a header that claims too much, in an archive of version 1."""
    good = nib.Nifti1Image(cases.voxels(0), np.diag([-1.0, -1, 1, 1])).to_bytes()
    claims = bytearray(good)
    claims[40:48] = struct.pack("<4h", 3, 1000, 1000, size // 2_000_000)
    (root / "behind.nii.gz").write_bytes(gzipped(good, size))
    (root / "instead.nii.gz").write_bytes(gzipped(b"", size))
    (root / "claims.nii.gz").write_bytes(gzip.compress(claims))
    (root / "archive.nii").write_bytes(archive_bomb(size))
    return [
        Bomb(root / "behind.nii.gz", len(good), size),
        Bomb(root / "instead.nii.gz", 0, size),
        Bomb(root / "claims.nii.gz", size, len(good)),
        Bomb(root / "archive.nii", gzip.open(VERSION_1).seek(0, 2), size, decomposed),
    ]


def archive_bomb(size: int) -> bytes:
    """An archive of version 1, one plane of which becomes `size` bytes (bzip2)."""
    image = nifti.read(VERSION_1)
    found = nifti.extensions(VERSION_1)
    content = next(block for code, block in found if code == nifti.PRIVATE)
    start = len(integer_codec.MAGIC) + 8
    length = int.from_bytes(content[start - 8 : start], "little")
    table = json.loads(content[start : start + length])
    bomb, entry = zeros(size, bz2.BZ2Compressor()), table["table"][0]
    rest = content[start + length + entry["size"] :]
    entry |= {"planes": [len(bomb)], "size": len(bomb)}
    text = json.dumps(table).encode()
    block = content[: start - 8] + len(text).to_bytes(8, "little") + text + bomb + rest
    kept = [(code, block if code == nifti.PRIVATE else other) for code, other in found]
    return nifti.series_bytes(pathlib.Path("archive.nii"), image, kept)


def decomposed(path: pathlib.Path) -> object:
    """By the command, into files beside it."""
    return decompose.main([str(path), "-o", str(path.with_name("1.nii")), str(path.with_name("2.nii"))])


def picture_bombs(root: pathlib.Path, size: int) -> list[Bomb]:
    """Strips of TIFF; pixels, text and colour profile of PNG; a PNG that claims too much."""
    found = []
    squeezes = {"zlib": zlib.compressobj(9), "lzma": lzma.LZMACompressor()}
    for name, squeeze in squeezes.items():
        image, bomb = io.BytesIO(), zeros(size, squeeze)
        tifffile.imwrite(image, np.zeros((16, 16), np.uint8), compression=name, metadata=None)
        content = bytearray(image.getvalue())
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            tags = file.pages.first.tags
            places = tags["StripOffsets"].valueoffset, tags["StripByteCounts"].valueoffset
        for place, value in zip(places, (len(content), len(bomb)), strict=True):
            content[place : place + 4] = struct.pack("<I", value)
        (root / f"{name}.tif").write_bytes(content + bomb)
        found.append(Bomb(root / f"{name}.tif", 256, size))
    bomb = zeros(size, zlib.compressobj(9))
    pixels = zlib.compress(bytes(20))
    pngs = {
        "pixels.png": (4, [(b"IDAT", bomb)]),
        "text.png": (4, [(b"zTXt", b"a\0\0" + bomb), (b"IDAT", pixels)]),
        "international.png": (4, [(b"iTXt", b"a\0\1\0\0\0" + bomb), (b"IDAT", pixels)]),
        "profile.png": (4, [(b"iCCP", b"a\0\0" + bomb), (b"IDAT", pixels)]),
        "claims.png": (13_000, [(b"IDAT", pixels)]),
    }
    for name, (side, chunks) in pngs.items():
        (root / name).write_bytes(png(side, chunks))
        found.append(Bomb(root / name, side * side, size if side == 4 else 20))
    return found


def png(side: int, chunks: list[tuple[bytes, bytes]]) -> bytes:
    """A grey PNG with these chunks between its head and its end."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in [(b"IHDR", head), *chunks, (b"IEND", b"")]
    )


def model_bombs(root: pathlib.Path, size: int) -> list[Bomb]:
    """A model whose archive of weights holds an array of `size` bytes too many."""
    (root / "model").mkdir()
    saving = FORK.Process(target=cases.save_model, args=(root / "model",))  # JAX must not start here
    saving.start()
    saving.join()
    path = root / "model" / "weights.npz"
    held = path.stat().st_size
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("more.npy", "w", force_zip64=True) as file,
    ):
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (size,)})
        for _ in range(size // MB):
            file.write(bytes(MB))
    return [Bomb(path, held, size, lambda name: pretrained.load(name.parent))]


def take(bomb: Bomb, results: Any) -> None:
    """Reads in this process of its own; puts the memory that it took and what came of it."""
    sys.stdout = io.StringIO()
    timing.reset_peak()
    before = timing.resident_mb()
    try:
        bomb.read(bomb.path)
        outcome = "read, the bomb left alone"
    except UserError as error:
        outcome = str(error).removeprefix(f"{bomb.path}: ")
    results.put((timing.resident_mb(peak=True) - before, outcome))


def main() -> int:
    """Parses the command line, reads, prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.bombs", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=1024, help="MB that each would become")
    args = parser.parse_args()
    rows, worst = [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        root, size = pathlib.Path(folder), args.size * MB
        for bomb in [*nifti_bombs(root, size), *picture_bombs(root, size), *model_bombs(root, size)]:
            results = FORK.Queue()
            process = FORK.Process(target=take, args=(bomb, results))
            process.start()
            taken, outcome = results.get()
            process.join()
            allowed = TIMES * bomb.declared / MB + SPARE
            worst = max(worst, taken / allowed)
            sizes = [f"{value / MB:.2f}" for value in (bomb.path.stat().st_size, bomb.declared, bomb.becomes)]
            rows.append([bomb.path.name, *sizes, f"{taken:.0f}", f"{allowed:.0f}", outcome])
    timing.print_table(["file", "MB", "declares", "would become", "memory taken", "allowed", "outcome"], rows)
    return int(worst > 1)


if __name__ == "__main__":
    sys.exit(main())
