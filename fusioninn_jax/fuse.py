"""Fuse the series of a study: `python -m fusioninn_jax.fuse T1GD FLAIR -o fused.nii.gz [--latent z.nii.gz]`.

`python -m fusioninn_jax.decompose` gives the series back: from the fused image alone nearly, with the latent to float
precision, from `--lossless` bit for bit.
"""
from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Sequence

import numpy as np

from fusioninn_jax import outputs
from fusioninn_jax.errors import Parser, UserError, cli
from fusioninn_jax.studies import archive, files, fusion, nifti
from fusioninn_jax.studies import record as records
from fusioninn_jax.studies.series import Series, check_same_grid


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m fusioninn_jax.fuse", description=__doc__,
                    formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sources", nargs="*", type=pathlib.Path, metavar="SERIES", help="NIfTI file")
    parser.add_argument("-o", "--output", required=True, type=pathlib.Path, help="the fused image")
    parser.add_argument("--latent", type=pathlib.Path, help="keep the latent here (.nii or .nii.gz)")
    parser.add_argument("--lossless", action="store_true", help="write one archive that `decompose` turns into the "
                        "original voxels bit for bit; checked before the command ends")
    parser.add_argument("--checkpoint", help="folder of a training; default: the model that ships with the package")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that are there already")
    parser.add_argument("--keep-phi", action="store_true", help="keep what may name the patient in exported headers")
    args = parser.parse_args(argv)
    if len(args.sources) < 2:
        parser.error("two series at least are needed")
    if args.lossless and (args.latent or not files.is_nifti(args.output)):
        parser.error("--lossless writes one NIfTI file, latent included: -o NAME.nii.gz, without --latent")
    return args


def read_sources(paths: Sequence[pathlib.Path], *, keep_phi: bool) -> list[Series]:
    """The series of a study, checked to lie on one grid."""
    sources = [files.read(path, keep_phi=keep_phi) for path in paths]
    for path, source in zip(paths[1:], sources[1:], strict=True):
        check_same_grid(sources[0], source, str(paths[0]), str(path))
    return sources


def write_fusion(result: fusion.Fusion, output: pathlib.Path, latent: pathlib.Path | None) -> None:
    """Writes the fused image and, where a path is given, its latent; both or neither."""
    names = [output] + ([latent] if latent else [])
    with outputs.new_files(*names) as temporaries:
        files.write(temporaries[0], output, result.image, result.record)
        if latent:
            channels, remainder = fusion.latent_channels(result)
            header = nifti.header_like(result.image, np.dtype(np.float32))
            nifti.write(temporaries[1], header, channels.astype(np.float32),
                        [(nifti.COMMENT, records.text(records.of_latent(result.record, remainder)))])


def write_archive(system: fusion.System, sources: Sequence[Series], output: pathlib.Path) -> Series:
    """Writes the lossless archive after reading it back and comparing every voxel; returns its fused image.

    Raises:
      UserError: what comes back differs from what went in.
    """
    image, found = archive.encode(system, sources)
    with outputs.new_files(output) as (temporary,):
        nifti.write_series(temporary, image, found)
        written = nifti.read(temporary)
        content = archive.payload(temporary)
        assert content is not None
        restored = archive.decode(temporary, written, records.check(written.record, output, "fused"), content)
        for i, (source, copy) in enumerate(zip(sources, restored, strict=True), 1):
            if archive.checksum(source.stored) != archive.checksum(copy.stored):
                raise UserError(f"{output}: series {i} did not come back bit for bit; nothing was written, please "
                                "report this")
    return image


def fuse_files(system: fusion.System, args: argparse.Namespace) -> None:
    """Fuses one study from files to files, as the arguments say."""
    started = time.time()
    names = [args.output] + ([args.latent] if args.latent else [])
    outputs.check(names, inputs=args.sources, overwrite=args.overwrite)
    sources = read_sources(args.sources, keep_phi=args.keep_phi)
    if args.lossless:
        image = write_archive(system, sources, args.output)
    else:
        result = fusion.fuse(system, sources)
        if args.latent and result.volume.latent is None:
            raise UserError(f"{args.latent}: this checkpoint's model has no latent; leave --latent out")
        write_fusion(result, args.output, args.latent)
        image = result.image
    count, height, width = image.stored.shape
    print(f"{' and '.join(map(str, names))}: {len(sources)} series, {count} slices of {height}x{width} fused in "
          f"{time.time() - started:.1f} s")
    if args.lossless:
        print(f"{args.output.stat().st_size / 1e6:.2f} MB; every voxel read back and found equal")


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and fuses; returns the exit code."""
    args = _arguments(argv)
    fuse_files(fusion.load_system(args.checkpoint), args)
    return 0


if __name__ == "__main__":
    cli(main)
