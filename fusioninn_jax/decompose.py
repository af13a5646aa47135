"""Series back from a fused image: `python -m fusioninn_jax.decompose fused.nii.gz -o t1gd.nii.gz flair.nii.gz`.

With `--latent` to float precision; without it from fresh noise, once or as the mean over `--samples`, whose spread
`--uncertainty` keeps. Whole folders, as `fuse --studies` wrote them:
`python -m fusioninn_jax.decompose --studies FOLDER --names t1gd flair -o FOLDER`.
"""

from __future__ import annotations

import argparse
import pathlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusioninn_jax import pretrained
from fusioninn_jax.formats import files, nifti, provenance
from fusioninn_jax.formats.provenance import Provenance
from fusioninn_jax.formats.series import Series
from fusioninn_jax.runtime import guarded, outputs, processes
from fusioninn_jax.runtime.errors import Parser, UserError
from fusioninn_jax.studies import archive, batch, fusing, reading, study_background
from fusioninn_jax.trained_model import TrainedModel
from fusioninn_jax.volumes import FusedVolume

EXAMPLES = """
python -m fusioninn_jax.decompose fused.nii.gz -o t1gd.nii.gz flair.nii.gz --latent z.nii.gz
python -m fusioninn_jax.decompose fused.nii.gz -o t1gd.nii.gz flair.nii.gz --samples=8 --uncertainty=error.nii.gz
python -m fusioninn_jax.decompose --studies fused --names t1gd flair -o back
"""


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = Parser(prog="python -m fusioninn_jax.decompose", description=__doc__, examples=EXAMPLES)
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
        help=f"with --studies: from {batch.LATENT} where it lies beside the fused image",
    )
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
    parser.add_argument("--checkpoint", help="the one that fused; default: the model that ships with the package")
    parser.add_argument("--overwrite", action="store_true", help="replace outputs that are there already")
    args = parser.parse_args(argv)
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
    if args.samples < 1 or args.uncertainty and args.samples < 2:
        parser.error("--samples: at least 1, and at least 2 for --uncertainty")
    if args.uncertainty and not files.is_nifti(args.uncertainty) or args.latent and not files.is_nifti(args.latent):
        parser.error("--latent and --uncertainty are .nii or .nii.gz files")
    return args


def check_model(path: pathlib.Path, record: Provenance, trained: TrainedModel) -> None:
    """Raises UserError where another model fused the image, or one that cannot decompose."""
    name = pretrained.fingerprint(trained.variables, trained.config)
    if record["model"] != name:
        raise UserError(
            f"{path}: was fused by another model ({record['model']}) than this checkpoint's "
            f"({name}); give --checkpoint of the training that fused it"
        )
    if trained.model.decompose is None:
        raise UserError(f"{path}: the model that fused it cannot decompose; fuse with a FusionINN checkpoint")


def with_latent(
    trained: TrainedModel, path: pathlib.Path, image: Series, record: Provenance, latent_path: pathlib.Path
) -> FusedVolume:
    """A fused image with its latent.

    Raises:
      UserError: the latent is not that of this image, or the image was changed since.
    """
    channels, of_latent = nifti.read_channels(latent_path)
    of_latent = provenance.check(of_latent, latent_path, "latent")
    identity = provenance.identity(image.stored, np.asarray(record["ranges"]))
    if of_latent.get("sha256") not in (None, provenance.digest(channels)):
        raise UserError(f"{latent_path}: its voxels were changed after fusing; give the file as `fuse` wrote it")
    if of_latent["id"] != record["id"]:
        raise UserError(
            f"{latent_path}: is the latent of another fused image, not of {path}; give the one that was "
            "written with it, or leave --latent out"
        )
    if identity != record["id"]:
        raise UserError(
            f"{path}: its voxels were changed after fusing, so its latent no longer belongs to it; give "
            "the file as `fuse` wrote it, or leave --latent out"
        )
    padded = [len(image.stored)] + [size + -size % trained.model.multiple for size in image.stored.shape[1:]]
    if list(channels.shape) != [*padded, len(record["sources"]) - 1 + of_latent["remainder"]]:
        raise UserError(
            f"{latent_path}: is of shape {channels.shape}, not that of the latent of {path}; give the one "
            "that was written with it, or leave --latent out"
        )
    return fusing.as_volume(trained, image, record, channels, of_latent["remainder"])


def decompose_files(args: argparse.Namespace) -> str:
    """Decomposes one fused image from files to files, as the arguments say; tells what it did."""
    started = time.time()
    names = [*args.output] + ([args.uncertainty] if args.uncertainty else [])
    for name in args.output:
        files.check_output(name)
    outputs.check(
        names,
        inputs=[args.fused] + ([args.latent] if args.latent else []),
        overwrite=args.overwrite,
        is_own=files.is_own_folder,
    )
    if files.is_nifti(args.fused):
        archive.check_seal(args.fused)
    image = files.read(args.fused)
    record = provenance.check(image.record, args.fused, "fused")
    if files.is_nifti(args.fused):
        provenance.check_affine(record, image, args.fused)
    if len(record["sources"]) != len(args.output):
        raise UserError(
            f"{args.fused}: was fused from {len(record['sources'])} series, {len(args.output)} outputs are "
            "named; give -o one for each"
        )
    sources, deviation = decomposed(image, record, args)
    for source in sources:
        files.check_origin(args.fused, source)
    with outputs.new_files(*names, overwrite=args.overwrite, is_own=files.is_own_folder) as temporaries:
        for temporary, name, source in zip(temporaries, args.output, sources, strict=False):
            files.write(temporary, name, source)
        if args.uncertainty:
            header = nifti.header_like(image, np.dtype(np.float32))
            nifti.write(temporaries[-1], header, np.moveaxis(deviation, 0, -1), [])
    return f"{' and '.join(map(str, names))}: {len(image.stored)} slices decomposed in {time.time() - started:.1f} s"


def from_archive(path: pathlib.Path, image: Series, record: Provenance, content: bytes) -> list[Series]:
    """The sources of an archive; raises UserError for whatever a damaged one makes its decoder raise."""
    with guarded.reading(path, "the archive in its header is damaged", "fetch the file anew"):
        return archive.decode(path, image, record, content)


def decomposed(image: Series, record: Provenance, args: argparse.Namespace) -> tuple[list[Series], Any]:
    """The sources as the arguments ask for them, and the deviation of their samples where there are some."""
    content = archive.payload(args.fused, record) if files.is_nifti(args.fused) else None
    if content and not (args.latent or args.samples > 1):
        return from_archive(args.fused, image, record, content), None
    sources = provenance.sources(record, image, args.fused)
    trained, deviation = fusing.load(args.checkpoint), None
    check_model(args.fused, record, trained)
    if args.samples > 1:
        volume = fusing.as_volume(trained, image, record)
        values, deviation = fusing.decompose_samples(trained, volume, args.seed, args.samples)
    else:
        volume = (
            with_latent(trained, args.fused, image, record, args.latent)
            if args.latent
            else fusing.as_volume(trained, image, record)
        )
        values = fusing.decompose(trained, volume, args.seed)
    sources = provenance.sources(record, image)
    return [
        source.with_values(value)
        for source, value in zip(sources, study_background.restored(record, values), strict=True)
    ], deviation


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and decomposes; returns the exit code."""
    args = _arguments(argv)
    if args.studies:
        return _decompose_all(args)
    if processes.is_first():  # one study is not shared out
        print(decompose_files(args))
    return 0


def _decompose_all(args: argparse.Namespace) -> int:
    """Every study of a folder; the exit code."""

    def fused_of(study: batch.Study) -> pathlib.Path:
        found = [path for of_pattern in study.found for path in of_pattern]
        if len(found) != 1:
            raise UserError(f"{study.folder}: holds {batch.FUSED} and a series {batch.FUSED_DICOM}; keep one of them")
        return found[0]

    def names(study: batch.Study) -> list[pathlib.Path]:
        ending = ".nii.gz" if study.found[0] else ""
        return [args.output[0] / study.folder / f"{name}{ending}" for name in args.names]

    def is_done(study: batch.Study) -> bool:
        return not args.overwrite and all(name.exists() for name in names(study))

    def process(study: batch.Study) -> None:
        fused = fused_of(study)
        latent = fused.parent / batch.LATENT
        own = {
            "fused": fused,
            "output": names(study),
            "overwrite": True,
            "latent": latent if args.with_latents and latent.exists() else None,
        }
        decompose_files(argparse.Namespace(**vars(args) | own))

    return batch.run(batch.find(args.studies, (batch.FUSED, batch.FUSED_DICOM)), is_done, process, "decomposed")


if __name__ == "__main__":
    processes.cli(main)
