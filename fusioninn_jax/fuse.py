"""Fuse the series of a study: `python -m fusioninn_jax.fuse T1GD FLAIR -o fused.nii.gz [--latent z.nii.gz]`.

`python -m fusioninn_jax.decompose` gives the series back: from the fused image alone nearly, with the latent to float
precision, from `--lossless` bit for bit. Whole folders of studies:
`python -m fusioninn_jax.fuse --studies FOLDER --match '*t1c*.nii.gz' '*flair*.nii.gz' -o FOLDER`; several processes
(docs/SCALING.md) deal the studies out.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import pathlib
import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

from fusioninn_jax.formats import background, files
from fusioninn_jax.runtime import compilation_cache, processes
from fusioninn_jax.runtime.errors import Parser, UserError
from fusioninn_jax.runtime.words import counted
from fusioninn_jax.studies import archive, batch, fusing, fusing_files, next_steps, reading, study_negatives
from fusioninn_jax.studies.fusing_files import StudyFusion
from fusioninn_jax.trained_model import TrainedModel

EXAMPLES = """
python -m fusioninn_jax.fuse t1gd.nii.gz flair.nii.gz -o fused.nii.gz --latent z.nii.gz
python -m fusioninn_jax.fuse T1GD_DICOM_FOLDER FLAIR_DICOM_FOLDER -o fused_dicom
python -m fusioninn_jax.fuse t1gd.nii.gz flair.nii.gz -o archive.nii.gz --lossless
python -m fusioninn_jax.fuse flair.nii.gz adc.nii.gz -o fused.nii.gz --invert 2
python -m fusioninn_jax.fuse --studies STUDIES --match '*t1c*.nii.gz' '*flair*.nii.gz' -o fused
"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m fusioninn_jax.fuse", description=__doc__, examples=EXAMPLES, epilog=compilation_cache.HELP
    )
    reading.add_series_arguments(parser)
    _add_outputs(parser)
    _add_values(parser)
    _add_studies(parser)
    args = parser.parse_args(argv)
    _check(parser, args)
    return args


def _add_outputs(parser: Parser) -> None:
    """What is written."""
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
    parser.add_argument("--keep-phi", action="store_true", help="keep what may name the patient in exported headers")


def _add_values(parser: Parser) -> None:
    """What is made of the voxels."""
    parser.add_argument(
        background.OPTION,
        default=background.AUTO,
        help="of volumes that are normalised already: auto: the value of the border, where parts of the brain lie "
        "below it; minimum; or the value; one for all series, or one for each with commas between",
    )
    study_negatives.add_argument(parser)
    parser.add_argument(
        "--preview",
        type=int,
        default=archive.GREY_LEVELS,
        metavar="LEVELS",
        help="with --lossless: grey levels of the archive's picture, 1 to 255; fewer make a smaller "
        "file. With --checkpoint the picture is the model's, in 255",
    )


def _add_studies(parser: Parser) -> None:
    """Many studies at once."""
    parser.add_argument("--studies", type=pathlib.Path, help="fuse every study below this folder, into -o FOLDER")
    parser.add_argument("--match", nargs="+", metavar="PATTERN", help="with --studies: one for each series")
    parser.add_argument("--with-latents", action="store_true", help="with --studies: keep the latents too")


def _check(parser: Parser, args: argparse.Namespace) -> None:
    """Raises UserError for arguments that do not go together."""
    if args.studies and (args.sources or args.latent or len(args.match or ()) < 2):
        parser.error("--studies takes --match with a pattern for each series, and neither SERIES nor --latent")
    if not args.studies and len(args.sources) < 2:
        parser.error("two series at least are needed")
    if args.latent and not files.is_nifti(args.latent):
        parser.error("--latent is a .nii or .nii.gz file")
    study_negatives.check(args.invert, len(args.match or args.sources))
    if args.lossless and args.invert:
        parser.error("--lossless keeps every voxel as it is: leave out --invert")
    if args.lossless and args.fill_value is not None:
        parser.error("--lossless keeps every voxel as it is: leave out --fill-value")
    if args.lossless and (args.latent or args.with_latents or not (args.studies or files.is_nifti(args.output))):
        parser.error("--lossless writes one NIfTI file, latent included: -o NAME.nii.gz, without --latent")
    if not 1 <= args.preview <= 255:
        parser.error("--preview takes 1 to 255 grey levels")


class Batch(NamedTuple):
    """Which studies are fused: those below `root`, a pattern for each series; and whether latents are kept."""

    root: pathlib.Path
    patterns: tuple[str, ...]
    latents: bool


def _wishes(args: argparse.Namespace) -> StudyFusion:
    """What the command line asks for, of one study; of many, what is said of each."""
    return StudyFusion(
        sources=tuple(args.sources),
        output=args.output,
        latent=args.latent,
        lossless=args.lossless,
        preview=args.preview,
        background=args.background,
        inverted=args.invert,
        fill_value=args.fill_value,
        resample=args.resample,
        keep_phi=args.keep_phi,
        overwrite=args.overwrite,
    )


def _model(checkpoint: str | None, lossless: bool) -> TrainedModel | None:
    """The model that fuses; None for an archive whose picture is the mean."""
    return None if lossless and checkpoint is None else fusing.load(checkpoint)


def _ask_about_twins(paths: Sequence[pathlib.Path]) -> None:
    """Asks, where someone sits at a terminal, whether one file is meant to be fused with itself; else warns.

    Raises:
      UserError: it was not meant.
    """
    # unlike `resolve` it stops at a loop of links; header and voxels of one image are one series
    places = [os.path.realpath(path.with_suffix(".hdr") if path.suffix == ".img" else path) for path in paths]
    twice = [path for i, path in enumerate(paths) if places.index(places[i]) < i]
    if not twice:
        return
    if not sys.stdin.isatty():
        print(f"warning: {twice[0]}: is named twice; it is fused with itself", file=sys.stderr)
    elif not _says_yes(f"{twice[0]}: is named twice; fuse it with itself? [y/N] "):
        raise UserError(f"{twice[0]}: is named twice; name each series once")


def _says_yes(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:  # Ctrl-D
        print()
        return False


def _fuse_one(asked: StudyFusion, checkpoint: str | None) -> int:
    """Fuses one study; the exit code."""
    started = time.time()
    files.check_output(asked.output)
    _ask_about_twins(asked.sources)
    trained, sources = _model(checkpoint, asked.lossless), fusing_files.read(asked)
    if asked.latent:
        print(f"{asked.latent}: will take about {fusing_files.latent_bytes(sources) / 1e6:.3g} MB", flush=True)
    fusing_files.fuse(trained, sources, asked)
    count, height, width = sources[0].stored.shape
    print(
        f"written: {' and '.join(map(str, asked.written))}; {len(sources)} series, {counted(count, 'slice')} of "
        f"{height}x{width}, {time.time() - started:.1f} s; model: {next_steps.model(checkpoint, trained)}"
    )
    if asked.lossless:
        print(f"{asked.output.stat().st_size / 1e6:.2f} MB; read back, and every voxel found equal")
    print(*next_steps.after_fusing(asked, checkpoint, trained), sep="\n")
    return 0


def _fuse_all(asked: StudyFusion, checkpoint: str | None, studies: Batch) -> int:
    """Fuses every study of a folder; the exit code."""
    trained = _model(checkpoint, asked.lossless)

    def own(study: batch.Study) -> StudyFusion:
        folder = asked.output / study.folder
        in_dicom = not asked.lossless and any(files.is_dicom(path) for path in study.found[0])
        output = folder / (batch.FUSED_DICOM if in_dicom else batch.FUSED)
        return dataclasses.replace(asked, output=output, latent=folder / batch.LATENT if studies.latents else None)

    def is_done(study: batch.Study) -> bool:
        return not asked.overwrite and all(name.exists() for name in own(study).written)

    def process(study: batch.Study) -> None:
        there = any(name.exists() for name in own(study).written)  # half of a study: its latent was not asked for
        sources = tuple(batch.sources(study, studies.patterns))
        of_study = dataclasses.replace(own(study), sources=sources, overwrite=asked.overwrite or there)
        fusing_files.fuse(trained, fusing_files.read(of_study), of_study)

    code = batch.run(batch.find(studies.root, studies.patterns), is_done, process)
    if processes.is_first():
        print(f"model: {next_steps.model(checkpoint, trained)}")
        print(*next_steps.after_fusing_all(asked.output, studies.patterns, studies.latents, checkpoint, trained))
    return code


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and fuses; returns the exit code.

    Args:
      argv: the arguments; None for those of the process.
    """
    args = _arguments(argv)
    if args.studies:
        return _fuse_all(_wishes(args), args.checkpoint, Batch(args.studies, tuple(args.match), args.with_latents))
    return _fuse_one(_wishes(args), args.checkpoint) if processes.is_first() else 0  # one study is not shared out


if __name__ == "__main__":
    processes.cli(main)
