"""Series back from a fused image: `python -m fusioninn_jax.decompose fused.nii.gz -o t1gd.nii.gz flair.nii.gz`.

With `--latent` to float precision; without it from fresh noise, once or as the mean over `--samples`, whose spread
`--uncertainty` keeps. Whole folders, as `fuse --studies` wrote them:
`python -m fusioninn_jax.decompose --studies FOLDER --names t1gd flair -o FOLDER`.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import time
from collections.abc import Sequence

from fusioninn_jax.formats import files
from fusioninn_jax.runtime import compilation_cache, processes
from fusioninn_jax.runtime.errors import Parser, UserError
from fusioninn_jax.runtime.words import counted
from fusioninn_jax.studies import batch, decomposing, next_steps, reading
from fusioninn_jax.studies.decomposing import Decomposition

EXAMPLES = """
python -m fusioninn_jax.decompose fused.nii.gz -o t1gd.nii.gz flair.nii.gz --latent z.nii.gz
python -m fusioninn_jax.decompose fused.nii.gz -o t1gd.nii.gz flair.nii.gz --samples=8 --uncertainty=error.nii.gz
python -m fusioninn_jax.decompose --studies fused --names t1gd flair -o back
"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(
        prog="python -m fusioninn_jax.decompose", description=__doc__, examples=EXAMPLES, epilog=compilation_cache.HELP
    )
    _add_files(parser)
    _add_studies(parser)
    _add_latents(parser)
    reading.add_model_arguments(parser, "the one that fused")
    args = parser.parse_args(argv)
    _check(parser, args)
    return args


def _add_files(parser: Parser) -> None:
    """What is read and written."""
    parser.add_argument("fused", nargs="?", type=pathlib.Path, help="as `fuse` wrote it")
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        nargs="+",
        type=pathlib.Path,
        help="one for each source, in the order in which they were fused; with --studies a folder",
    )
    parser.add_argument(
        "--accept-changed",
        action="store_true",
        help="decompose a fused image whose voxels were changed since `fuse` wrote it; otherwise that is an error",
    )


def _add_studies(parser: Parser) -> None:
    """Many fused images at once."""
    parser.add_argument(
        "--studies",
        type=pathlib.Path,
        metavar="FOLDER",
        help="decompose every fused image below this "
        f"folder ({batch.FUSED}, or the DICOM series {batch.FUSED_DICOM}), into -o FOLDER",
    )
    parser.add_argument(
        "--names",
        nargs="+",
        metavar="NAME",
        help="with --studies: of the sources, without ending; each gets the format of its fused image",
    )
    parser.add_argument(
        "--with-latents",
        action="store_true",
        help=f"with --studies: from the {batch.LATENT} beside each fused image, which `fuse --with-latents` wrote",
    )


def _add_latents(parser: Parser) -> None:
    """What stands in for what the fused image does not hold."""
    parser.add_argument("--latent", type=pathlib.Path, help="as `fuse` wrote it; without: fresh noise")
    parser.add_argument("--samples", type=reading.samples, default=1, help="average over so many draws of noise")
    parser.add_argument(
        "--uncertainty",
        type=pathlib.Path,
        metavar="FILE",
        help="how wrong the mean of the samples may be, voxel by voxel, one channel a source (NIfTI): "
        "of a calibrated model the error's deviation, else that of the samples, which is smaller",
    )
    parser.add_argument("--seed", type=reading.seed, default=0, help="of the noise")


def _check(parser: Parser, args: argparse.Namespace) -> None:
    """Raises UserError for arguments that do not go together."""
    if args.studies and (
        args.fused or args.latent or args.uncertainty or len(args.names or ()) < 2 or len(args.output) != 1
    ):
        parser.error(
            "--studies takes --names with one for each source and one -o FOLDER, and neither a fused image "
            "nor --latent and --uncertainty"
        )
    if not args.studies and not args.fused:
        parser.error("give a fused image, or --studies FOLDER")
    if args.latent and (args.samples > 1 or args.uncertainty):
        parser.error("--latent leaves nothing to draw: give it, or --samples and --uncertainty")
    if args.uncertainty and args.samples < 2:
        parser.error("--samples: at least 2 for --uncertainty")
    if args.uncertainty and not files.is_nifti(args.uncertainty) or args.latent and not files.is_nifti(args.latent):
        parser.error("--latent and --uncertainty are .nii or .nii.gz files")


def _wishes(args: argparse.Namespace) -> Decomposition:
    """What the command line asks for, of one fused image; of many, what is said of each."""
    return Decomposition(
        fused=args.fused or args.studies,
        outputs=tuple(args.output),
        latent=args.latent,
        samples=args.samples,
        uncertainty=args.uncertainty,
        seed=args.seed,
        checkpoint=args.checkpoint,
        overwrite=args.overwrite,
        accept_changed=args.accept_changed,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and decomposes; returns the exit code.

    Args:
      argv: the arguments; None for those of the process.
    """
    args = _arguments(argv)
    if args.studies:
        return _decompose_all(_wishes(args), args.studies, args.names, args.with_latents)
    if processes.is_first():  # one study is not shared out
        _decompose_one(_wishes(args))
    return 0


def _decompose_one(asked: Decomposition) -> None:
    started = time.time()
    done = decomposing.decompose(asked)
    print(
        f"{' and '.join(map(str, asked.written))}: {counted(done.slices, 'slice')} decomposed in "
        f"{time.time() - started:.1f} s; model: {done.model}"
    )
    print(next_steps.after_decomposing(len(asked.outputs), asked.checkpoint))


def _decompose_all(asked: Decomposition, root: pathlib.Path, names: Sequence[str], latents: bool) -> int:
    """Decomposes every fused image below `root` into the folder asked for; the exit code."""
    by: list[str] = []

    def fused_of(study: batch.Study) -> pathlib.Path:
        found = [path for of_pattern in study.found for path in of_pattern]
        if len(found) != 1:
            raise UserError(f"{study.folder}: holds {batch.FUSED} and a series {batch.FUSED_DICOM}; keep one of them")
        return found[0]

    def written(study: batch.Study) -> tuple[pathlib.Path, ...]:
        ending = ".nii.gz" if study.found[0] else ""
        return tuple(asked.outputs[0] / study.folder / f"{name}{ending}" for name in names)

    def is_done(study: batch.Study) -> bool:
        return not asked.overwrite and all(name.exists() for name in written(study))

    def process(study: batch.Study) -> None:
        fused = fused_of(study)
        latent = fused.parent / batch.LATENT
        of_study = dataclasses.replace(asked, fused=fused, outputs=written(study), overwrite=True)
        if latents and not latent.exists():
            raise UserError(f"{latent}: missing; fuse with --with-latents, or leave --with-latents out")
        if latents:
            of_study = dataclasses.replace(of_study, latent=latent)
        by.append(decomposing.decompose(of_study).model)

    code = batch.run(batch.find(root, (batch.FUSED, batch.FUSED_DICOM)), is_done, process, "decomposed")
    if processes.is_first() and by:
        print(f"model: {' or '.join(dict.fromkeys(by))}")
        print(next_steps.after_decomposing(len(names), asked.checkpoint))
    return code


if __name__ == "__main__":
    processes.cli(main)
