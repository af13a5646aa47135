"""The command line of `python -m data.prepare`."""

from __future__ import annotations

import argparse

from fusioninn_jax.formats import background
from fusioninn_jax.runtime import errors

EXAMPLES = {
    "brain_phantom": "python -m data.prepare brain_phantom",
    "brats": """
        python -m data.prepare brats --source=BRATS_FOLDER --name=t1gd_flair
        python -m data.prepare brats --source=BRATS_FOLDER --modalities=t1,t1gd,t2,flair --test_fraction=0.1
    """,
    "image_pairs": "python -m data.prepare image_pairs --source=FOLDER/CT --source=FOLDER/MRI --name=ct_mri",
}
EXAMPLES["all"] = "\n".join(EXAMPLES.values())


def names(text: str) -> tuple[str, ...]:
    """The `text` "a, b" as ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _labels(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in names(text))


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line of `python -m data.prepare`, with its `description`; a subcommand for each dataset."""
    result = errors.Parser(prog="python -m data.prepare", description=description, examples=EXAMPLES["all"])
    commands = result.add_subparsers(dest="dataset", required=True, metavar="{brats,image_pairs,brain_phantom}")

    def command(name: str, description: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(
            name, help=description, description=description, allow_abbrev=False, examples=EXAMPLES[name]
        )
        sub.add_argument("--data_dir", default="runs/data", help="where prepared datasets lie")
        sub.add_argument("--overwrite", action="store_true", help="replace a dataset of the same name")
        return sub

    phantom = command("brain_phantom", "simulated tumours in a real brain's anatomy; needs no files")
    phantom.add_argument("--config", default="default", help="default, large or tiny")
    _brats_options(command("brats", "BraTS 2018-2024, MSD Task01 or the authors' HDF5"))
    _pairs_options(command("image_pairs", "two or more folders of equally named PNG, JPEG, TIFF or BMP"))
    return result


def _common_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", help="of the prepared dataset; unset: the modalities, joined by _")
    parser.add_argument("--val_fraction", type=float, help="for validation; unset: 0.1, by slice 1153/9653")
    parser.add_argument("--test_fraction", type=float, default=0.0, help="for test")
    parser.add_argument("--seed", type=int, default=0, help="of the random split")


def _brats_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", action="append", required=True, help="the unpacked data, searched recursively")
    parser.add_argument(
        "--modalities",
        type=names,
        default="t1gd,flair",
        help="two or more of t1, t1gd, t2, flair, in the order of the channels",
    )
    _common_options(parser)
    parser.add_argument(
        "--required_labels",
        type=_labels,
        default="1,2",
        help="labels that an annotated slice must hold; empty: judge by the brain",
    )
    parser.add_argument(
        "--min_brain_fraction",
        type=float,
        default=0.05,
        help="of the pixels, where there is no annotation or no required label",
    )
    parser.add_argument("--split_by", default="patient", help="patient, or slice as in the paper")
    parser.add_argument("--test_subjects", type=names, default="", help="named instead of drawn, comma-separated")
    parser.add_argument("--validation_subjects", type=names, default="", help="likewise")
    _brats_reading_options(parser)


def _brats_reading_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip_bad", action="store_true", help="leave bad subjects out instead of failing")
    parser.add_argument("--strict", action="store_true", help="negative voxels are an error")
    parser.add_argument(
        background.OPTION,
        type=names,
        default="auto",
        help="auto: the value of the border, where parts of the brain lie below it (volumes that are "
        "normalised already); minimum; or the value; one for all modalities, or one for each",
    )
    parser.add_argument(
        "--masks",
        type=names,
        default="",
        metavar="PATTERN,...",
        help="files so named, e.g. '*_labels.nii.gz', are the masks of the subjects beside them",
    )
    parser.add_argument("--ignore", type=names, default="", metavar="PATTERN,...", help="leave files so named alone")
    parser.add_argument(
        "--patient_pattern",
        default="",
        metavar="REGEX",
        help="its first group is the patient in a subject's name, e.g. '(P[0-9]+)'; unset: visits are "
        "told by the namings that are known",
    )
    parser.add_argument(
        "--beam_pipeline_options",
        metavar="KEY=VALUE,...",
        help="write by Apache Beam, e.g. runner=DirectRunner,direct_num_workers=8; data_dir and source "
        "must then be a file system that all workers see",
    )


def _pairs_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--source", action="append", required=True, help="a folder of images; once per modality")
    parser.add_argument("--modalities", type=names, help="a name for each source; unset: its folder's name")
    _common_options(parser)
