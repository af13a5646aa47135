"""What an archive must stand: `python -m benchmarks.lossless_checks FIRST SECOND [--damages 300]`, two NIfTI files.

1. Machines: the archive is decoded by processes that use other instructions (numba's, NumPy's and XLA's share of
   AVX-512 and AVX2 switched off) and other numbers of threads; digests of what they give must agree with the sources'.
2. Damage: bits flipped anywhere, the file cut short, characters of its header changed; `decompose` must find each
   before it writes anything.
3. DICOM: the same voxels as two series of one file a slice; stored pixels that differ after decoding, attributes kept,
   and the archive's size beside both series plain, in JPEG-LS and in JPEG 2000 lossless, headers included.

Prints Markdown; exits 1 where a damage went unnoticed, a digest differs or a pixel is another.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import imagecodecs
import numpy as np
import pydicom

from benchmarks import timing
from fusioninn_jax import decompose, fuse
from fusioninn_jax.formats import files, nifti
from fusioninn_jax.runtime import cores
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.studies import archive_format, decomposing
from tests.studies import dicom_series

WITHOUT_512 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
MACHINES = {
    "as it is": {},
    "one thread": {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "ONE_CPU": "1"},
    "without AVX-512": {
        "NPY_DISABLE_CPU_FEATURES": WITHOUT_512,
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",
    },
    "without AVX-512, AVX2 and FMA": {
        "NPY_DISABLE_CPU_FEATURES": f"{WITHOUT_512} AVX2 FMA3",
        "XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_ENABLE_AVX": "0",
    },
    "the same, one thread": {
        "NPY_DISABLE_CPU_FEATURES": f"{WITHOUT_512} AVX2 FMA3",
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "NUMBA_ENABLE_AVX": "0",
        "ONE_CPU": "1",
    },
}


def quietly(command: list[str], main: object) -> None:
    """Runs a command; its words are kept back."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(command)  # type: ignore[operator]


def damaged(content: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Content with one damage."""
    if kind == "cut short":
        return content[: int(rng.integers(len(content)))]
    changed = bytearray(content)
    if kind == "bit flipped":
        changed[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    else:  # the NIfTI header, the record and the head of the block, all text or nearly
        end = content.index(archive_format.MAGIC) + 400
        place = int(rng.integers(end))
        changed[place] = (changed[place] + int(rng.integers(1, 256))) % 256
    return bytes(changed)


def check_damages(path: pathlib.Path, count: int) -> bool:
    """Damages copies of an archive, gunzipped ones and whole files by turns; prints the table."""
    rng, squeezed = np.random.default_rng(0), path.read_bytes()
    plain, copy = gzip.decompress(squeezed), path.with_name("damaged.nii")
    out = [path.with_name(f"out{i}.nii") for i in (1, 2)]
    kinds = ("bit flipped", "cut short", "character of a header")
    tally = {kind: {"found": 0, "right result": 0, "UNNOTICED": 0, "outputs": 0} for kind in kinds}
    whole = [nifti_digest(source) for source in decoded(path)]
    for i in range(count):
        kind = kinds[i % 3]
        packed = i % 2 == 1 and kind != kinds[2]
        copy.write_bytes(damaged(squeezed if packed else plain, kind, rng))
        try:
            quietly([str(copy), "-o", *map(str, out)], decompose.main)
        except UserError:
            tally[kind]["found"] += 1
            tally[kind]["outputs"] += any(name.exists() for name in out)
        else:  # of gzip's own header nothing but its time and names can change unnoticed
            same = [nifti_digest(nifti.read(name).stored) for name in out] == whole
            tally[kind]["right result" if same else "UNNOTICED"] += 1
        for name in out:
            name.unlink(missing_ok=True)
    rows = [[kind, *counts.values()] for kind, counts in tally.items()]
    timing.print_table(["damage", "found", "the right result", "UNNOTICED", "outputs written although found"], rows)
    return not any(counts["UNNOTICED"] or counts["outputs"] for counts in tally.values())


def decoded(path: pathlib.Path) -> list[np.ndarray]:
    """The stored voxels of an archive's sources."""
    image = files.read(path)
    content = next(block for _, block in nifti.extensions(path) if block.startswith(archive_format.MAGIC))
    assert image.record is not None
    return [source.stored for source in decomposing.from_archive(path, image, image.record, content)]


def nifti_digest(voxels: np.ndarray) -> str:
    """16 digits of a digest of type, shape and voxels."""
    return archive_format.checksum(voxels)[:16]


def decode_here(path: pathlib.Path) -> None:
    """Prints the digests of an archive's sources, and seconds; for a process of its own."""
    if os.environ.get("ONE_CPU"):
        cores.usable = lambda: 1
    start = time.monotonic()
    print(*map(nifti_digest, decoded(path)), f"{time.monotonic() - start:.1f}")


def check_machines(path: pathlib.Path, sources: list[pathlib.Path]) -> bool:
    """Decodes by MACHINES; prints the table."""
    expected, rows = [nifti_digest(nifti.read(source).stored) for source in sources], []
    with tempfile.TemporaryDirectory() as cache:  # each compiles anew
        for name, variables in MACHINES.items():
            done = subprocess.run(
                [sys.executable, "-m", "benchmarks.lossless_checks", "--decode", str(path)],
                env=os.environ | {"NUMBA_CACHE_DIR": str(pathlib.Path(cache) / name.replace(" ", "_"))} | variables,
                capture_output=True,
                text=True,
                check=True,
            )
            rows.append([name, *done.stdout.split()])
    rows.append(["the sources", *expected, ""])
    timing.print_table(["machine", "digest of series 1", "of series 2", "s, compilation included"], rows)
    return all(row[1:3] == expected for row in rows)


def check_dicom(root: pathlib.Path, sources: list[pathlib.Path]) -> bool:
    """Archives two DICOM series of the sources' voxels; prints the table."""
    volumes = [nifti.read(source).stored for source in sources]
    volumes = [np.maximum(volume.astype(np.int64) - int(volume.min()), 0).astype("u2") for volume in volumes]
    series = [dicom_series.write(root / f"dicom{i}", volume) for i, volume in enumerate(volumes)]
    path, out = root / "dicom.nii.gz", [root / f"back{i}" for i in (1, 2)]
    quietly([*map(str, series), "-o", str(path), "--lossless"], fuse.main)
    quietly([str(path), "-o", *map(str, out)], decompose.main)
    differing = sum(int((files.read(a).stored != files.read(b).stored).sum()) for a, b in zip(series, out, strict=True))
    heads = sum(name.stat().st_size for folder in series for name in folder.iterdir())
    heads -= sum(volume.nbytes for volume in volumes)
    sizes = {
        "plain": sum(volume.nbytes for volume in volumes),
        "JPEG-LS": sum(len(imagecodecs.jpegls_encode(s)) for volume in volumes for s in volume),
        "JPEG 2000": sum(
            len(imagecodecs.jpeg2k_encode(s, level=0, reversible=True)) for volume in volumes for s in volume
        ),
    }
    rows = [[f"{name}, {sum(map(len, volumes))} files", f"{(size + heads) / 1e6:.3f}"] for name, size in sizes.items()]
    rows.append(["archive, picture included", f"{path.stat().st_size / 1e6:.3f}"])
    timing.print_table(["both series", "MB"], rows)
    kept = kept_attributes(series[0], out[0])
    print(f"\nPixels that differ: {differing}. Attributes of a slice, before and after: {kept}.")
    return not differing


def kept_attributes(before: pathlib.Path, after: pathlib.Path) -> str:
    """Which geometry and scale came back, which names of the patient did not."""
    first, last = (
        {float(image.ImagePositionPatient[2]): image for image in map(pydicom.dcmread, folder.iterdir())}
        for folder in (before, after)
    )
    place = min(first)
    names = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "Modality")
    same = [name for name in names if str(first[place].get(name)) == str(last[place].get(name))]
    gone = [name for name in ("PatientName", "PatientID", "SeriesDescription") if not last[place].get(name)]
    return f"equal {', '.join(same)}; empty or gone {', '.join(gone)}"


def main() -> int:
    """Parses the command line, checks; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.lossless_checks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="*", type=pathlib.Path)
    parser.add_argument("--damages", type=int, default=300)
    parser.add_argument("--decode", type=pathlib.Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.decode:
        decode_here(args.decode)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        path = root / "archive.nii.gz"
        quietly([*map(str, args.sources), "-o", str(path), "--lossless"], fuse.main)
        good = check_machines(path, args.sources)
        print(flush=True)
        good &= check_damages(path, args.damages)
        print(flush=True)
        good &= check_dicom(root, args.sources)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
