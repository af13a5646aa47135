"""Fuse the series of a study: `python -m fusioninn_jax.fuse T1GD FLAIR -o fused.nii.gz [--latent z.nii.gz]`.

`python -m fusioninn_jax.decompose` gives the series back: from the fused image alone nearly, with the latent to float
precision, from `--lossless` bit for bit. Whole folders of studies:
`python -m fusioninn_jax.fuse --studies FOLDER --match '*t1c*.nii.gz' '*flair*.nii.gz' -o FOLDER`; several processes
(docs/SCALING.md) deal the studies out.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import sys
import time
from collections.abc import Sequence

import numpy as np

from fusioninn_jax.formats import background, files, nifti, provenance
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime import outputs, processes
from fusioninn_jax.runtime.errors import Parser, UserError
from fusioninn_jax.studies import archive, batch, fusing, reading, study_background
from fusioninn_jax.trained_model import TrainedModel

EXAMPLES = """
python -m fusioninn_jax.fuse t1gd.nii.gz flair.nii.gz -o fused.nii.gz --latent z.nii.gz
python -m fusioninn_jax.fuse T1GD_DICOM_FOLDER FLAIR_DICOM_FOLDER -o fused_dicom
python -m fusioninn_jax.fuse t1gd.nii.gz flair.nii.gz -o archive.nii.gz --lossless
python -m fusioninn_jax.fuse --studies STUDIES --match '*t1c*.nii.gz' '*flair*.nii.gz' -o fused
"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m fusioninn_jax.fuse", description=__doc__, examples=EXAMPLES)
    reading.add_series_arguments(parser)
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        type=pathlib.Path,
        help="the fused image; a name without ending becomes the folder of a DICOM series",
    )
    parser.add_argument("--latent", type=pathlib.Path, help="keep the latent here (.nii or .nii.gz)")
    parser.add_argument(
        "--lossless",
        action="store_true",
        help="write one archive that `decompose` turns into the "
        "original voxels bit for bit; checked before the command ends",
    )
    parser.add_argument(
        background.OPTION,
        default=background.AUTO,
        help="of volumes that are normalised "
        "already: auto: "
        "the value of the border, where parts of the brain lie below it; minimum; or the value; one "
        "for all series, or one for each with commas between",
    )
    parser.add_argument(
        "--preview",
        type=int,
        default=archive.GREY_LEVELS,
        metavar="LEVELS",
        help="with --lossless: grey levels of the archive's picture, 1 to 255; fewer make a smaller "
        "file. With --checkpoint the picture is the model's, in 255",
    )
    parser.add_argument("--keep-phi", action="store_true", help="keep what may name the patient in exported headers")
    parser.add_argument("--studies", type=pathlib.Path, help="fuse every study below this folder, into -o FOLDER")
    parser.add_argument("--match", nargs="+", metavar="PATTERN", help="with --studies: one for each series")
    parser.add_argument("--with-latents", action="store_true", help="with --studies: keep the latents too")
    args = parser.parse_args(argv)
    if args.studies and (args.sources or args.latent or len(args.match or ()) < 2):
        parser.error("--studies takes --match with a pattern for each series, and neither SERIES nor --latent")
    if not args.studies and len(args.sources) < 2:
        parser.error("two series at least are needed")
    if args.latent and not files.is_nifti(args.latent):
        parser.error("--latent is a .nii or .nii.gz file")
    if args.lossless and args.fill_value is not None:
        parser.error("--lossless keeps every voxel as it is: leave out --fill-value")
    if args.lossless and (args.latent or args.with_latents or not (args.studies or files.is_nifti(args.output))):
        parser.error("--lossless writes one NIfTI file, latent included: -o NAME.nii.gz, without --latent")
    if not 1 <= args.preview <= 255:
        parser.error("--preview takes 1 to 255 grey levels")
    return args


def write_fusion(result: fusing.Fusion, output: pathlib.Path, latent: pathlib.Path | None, *, overwrite: bool) -> None:
    """Writes the fused image and, where a path is given, its latent; both or neither."""
    names = [output] + ([latent] if latent else [])
    with outputs.new_files(*names, overwrite=overwrite, is_own=files.is_own_folder) as temporaries:
        files.write(temporaries[0], output, result.image, result.record)
        if latent:
            channels, remainder = fusing.latent_channels(result)
            header = nifti.header_like(result.image, np.dtype(np.float32))
            channels = channels.astype(np.float32)
            of_latent = provenance.of_latent(result.record, channels, remainder)
            nifti.write(temporaries[1], header, channels, [(nifti.COMMENT, provenance.text(of_latent))])


def write_archive(
    trained: TrainedModel | None,
    sources: Sequence[Series],
    output: pathlib.Path,
    *,
    asked: Sequence[str | float],
    names: Sequence[str],
    grey_levels: int,
    overwrite: bool,
) -> None:
    """Writes the lossless archive after reading it back and comparing every voxel.

    Args:
      trained: a model whose picture is kept; None for the mean in so many grey levels.

    Raises:
      UserError: what comes back differs from what went in.
    """
    with outputs.new_files(output, overwrite=overwrite) as (temporary,):
        archive.write(temporary, sources, trained, grey_levels, asked=asked, names=names)
        archive.check_seal(temporary)
        image = nifti.read(temporary)
        record = provenance.check(image.record, output, "fused")
        block = archive.payload(temporary, record)
        assert block is not None
        restored = archive.decode(temporary, image, record, block)
        for i, (source, copy) in enumerate(zip(sources, restored, strict=True), 1):
            if archive.checksum(source.stored) != archive.checksum(copy.stored):
                raise UserError(
                    f"{output}: series {i} did not come back bit for bit; nothing was written, please report this"
                )


def _model(args: argparse.Namespace) -> TrainedModel | None:
    """The model that fuses; None for an archive whose picture is the mean."""
    return None if args.lossless and args.checkpoint is None else fusing.load(args.checkpoint)


def fuse_study(
    trained: TrainedModel | None,
    paths: Sequence[pathlib.Path],
    output: pathlib.Path,
    latent: pathlib.Path | None,
    args: argparse.Namespace,
    *,
    overwrite: bool,
) -> Series:
    """Fuses one study from files to files; returns its first series."""
    outputs.check(
        [output] + ([latent] if latent else []), inputs=paths, overwrite=overwrite, is_own=files.is_own_folder
    )
    sources = reading.read_sources(paths, keep_phi=args.keep_phi, resample=args.resample, fill_value=args.fill_value)
    asked, names = study_background.parse_all(args.background), [str(path) for path in paths]
    if args.lossless:
        write_archive(trained, sources, output, asked=asked, names=names, grey_levels=args.preview, overwrite=overwrite)
        return sources[0]
    assert trained is not None
    if latent and not args.studies:
        print(f"{latent}: will take about {latent_bytes(sources) / 1e6:.0f} MB", flush=True)
    result = fusing.fuse(trained, sources, files.storage(output, sources[0]), asked=asked, names=names)
    if latent and result.volume.latent is None:
        raise UserError(f"{latent}: the model of this checkpoint has no latent; leave it out")
    write_fusion(result, output, latent, overwrite=overwrite)
    return sources[0]


def latent_bytes(sources: Sequence[Series]) -> int:
    """About what the file of a latent takes: noise, which hardly compresses, and the rounding of the fused image."""
    return len(sources) * sources[0].stored.size * np.dtype(np.float32).itemsize * 9 // 10


def _ask_about_twins(paths: Sequence[pathlib.Path]) -> None:
    """Asks, where someone sits at a terminal, whether one file is meant to be fused with itself; else warns.

    Raises:
      UserError: it was not meant.
    """
    places = [os.path.realpath(path) for path in paths]  # unlike `resolve` it stops at a loop of links
    twice = [path for i, path in enumerate(paths) if places.index(places[i]) < i]
    if not twice:
        return
    if not sys.stdin.isatty():
        print(f"warning: {twice[0]}: is named twice; it is fused with itself", file=sys.stderr)
    elif input(f"{twice[0]}: is named twice; fuse it with itself? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UserError(f"{twice[0]}: is named twice; name each series once")


def _fuse_one(args: argparse.Namespace) -> int:
    started = time.time()
    files.check_output(args.output)
    _ask_about_twins(args.sources)
    first = fuse_study(_model(args), args.sources, args.output, args.latent, args, overwrite=args.overwrite)
    count, height, width = first.stored.shape
    print(
        f"written: {args.output}{f' and {args.latent}' if args.latent else ''}; {len(args.sources)} series, {count} "
        f"slices of {height}x{width}, {time.time() - started:.1f} s"
    )
    if args.lossless:
        print(f"{args.output.stat().st_size / 1e6:.2f} MB; read back, and every voxel found equal")
    return 0


def _fuse_all(args: argparse.Namespace) -> int:
    trained = _model(args)

    def names(study: batch.Study) -> tuple[pathlib.Path, pathlib.Path | None]:
        folder = args.output / study.folder
        in_dicom = not args.lossless and any(files.is_dicom(path) for path in study.found[0])
        return (
            folder / (batch.FUSED_DICOM if in_dicom else batch.FUSED),
            folder / batch.LATENT if args.with_latents else None,
        )

    def is_done(study: batch.Study) -> bool:
        return not args.overwrite and all(name.exists() for name in names(study) if name)

    def process(study: batch.Study) -> None:
        there = any(name.exists() for name in names(study) if name)  # half of a study: its latent was not asked for
        fuse_study(trained, batch.sources(study, args.match), *names(study), args, overwrite=args.overwrite or there)

    return batch.run(batch.find(args.studies, args.match), is_done, process)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and fuses; returns the exit code."""
    args = _arguments(argv)
    if args.studies:
        return _fuse_all(args)
    return _fuse_one(args) if processes.is_first() else 0  # one study is not shared out


if __name__ == "__main__":
    processes.cli(main)
