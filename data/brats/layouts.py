"""Which subjects a folder holds, told from file names; `naming` has the table of what is understood.

Nothing is passed over without a word: every image file that is not used is returned with the reason. A subject without
mask beside which a file of unknown name could be one is an error that asks what it is.
"""

from __future__ import annotations

import fnmatch
import os
import pathlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data.brats import masks, naming, patients
from data.brats.naming import ALIASES, HDF5_SPLITS, UNDERSTOOD, Named, Subject
from data.splits import preview
from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.nearest import nearest

MODALITIES = ("t1", "t1gd", "t2", "flair")
MSD_CHANNELS = ("flair", "t1", "t1gd", "t2")
MSD_CHANNEL_NAMES = {
    "flair": "flair",
    "t2-flair": "flair",
    "t1w": "t1",
    "t1": "t1",
    "t1gd": "t1gd",
    "t1-gd": "t1gd",
    "t1ce": "t1gd",
    "t2w": "t2",
    "t2": "t2",
}
MSD_LABELS = {"1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
IGNORED = "--ignore names it"
__all__ = ["HDF5_SPLITS", "MODALITIES", "MSD_CHANNELS", "Found", "Subject", "find_subjects", "parse_modalities"]


class Found(NamedTuple):
    """What a folder holds.

    Attributes:
      subjects: sorted by name.
      passed_over: image files that are not used -> why.
      mappings: tables that say which subjects are one patient.
    """

    subjects: list[Subject]
    passed_over: dict[pathlib.Path, str]
    mappings: list[pathlib.Path]


def parse_modalities(names: Sequence[str]) -> tuple[str, ...]:
    """Canonical names ('t1', 't1gd', 't2', 'flair') of two or more modalities or aliases, in the order given.

    Raises:
      UserError: an unknown name, a modality given twice, fewer than two.
    """
    for name in names:
        if naming.spelling(name) not in ALIASES:
            close = nearest(name.lower(), ALIASES, cutoff=0.4)
            raise UserError(
                f"modalities: unknown '{name}'; "
                + (f"did you mean '{close}'? " if close else "")
                + f"known are {', '.join(ALIASES)}"
            )
    canonical = tuple(ALIASES[naming.spelling(name)] for name in names)
    if len(canonical) < 2 or len(set(canonical)) != len(canonical):
        raise UserError(
            f"modalities: {','.join(names) or 'none given'}; give two or more different ones of {', '.join(MODALITIES)}"
        )
    return canonical


def find_subjects(root: pathlib.Path, *, mask_names: Sequence[str] = (), ignore: Sequence[str] = ()) -> Found:
    """All subjects below a folder, and what is passed over.

    Args:
      root: searched with all folders below it.
      mask_names: patterns (`*_labels.nii.gz`) of files that are the mask of the subject beside which they lie.
      ignore: patterns of files that are left alone without a question.

    Raises:
      UserError: no such folder, no subject, a subject or a file of it found twice, HDF5 beside NIfTI, an MSD
        dataset.json that names other channels or labels, a file that may be the mask of a subject without one.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that holds the unpacked data")
    files, passed_over = _files(root), {}
    files_of: dict[tuple[str, str], dict[pathlib.Path, Named]] = {}
    nifti_in = Counter(path.parent for path in files if naming.stem(path))
    for path in files:
        asked_for = _matches(path, ignore) or _matches(path, mask_names)
        named = None if asked_for else naming.recognise(path, root, alone=nifti_in[path.parent] == 1)
        if named:
            files_of.setdefault((named.family, named.subject), {})[path] = named
        elif path.name.lower().endswith(naming.IMAGE_ENDINGS):
            passed_over[path] = IGNORED if _matches(path, ignore) else _reason(path)
    for key in [key for key, files in files_of.items() if key[0] == "brats" and _only_masks(files)]:
        passed_over |= dict.fromkeys(files_of.pop(key), f"a mask of {key[1]}, of which there is no image")
    if not files_of:
        names = f"; image files of other names: {preview([path.name for path in passed_over])}" if passed_over else ""
        raise UserError(f"{root}: no subject found; understood are {UNDERSTOOD}{names}")
    subjects = [_subject(root, *key, of_subject) for key, of_subject in sorted(files_of.items())]
    subjects = _with_masks(subjects, passed_over, mask_names)
    _check(root, subjects)
    return Found(
        sorted(subjects, key=lambda subject: subject.name),
        passed_over,
        [path for path in files if patients.is_mapping(path)],
    )


def _only_masks(files: Mapping[pathlib.Path, Named]) -> bool:
    return all(named.kind == "seg" for named in files.values())


def _matches(path: pathlib.Path, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)


def _reason(path: pathlib.Path) -> str:
    if path.parent.name == "imagesTs":
        return "imagesTs has no annotation"
    if naming.stem(path):
        return "its name is of no known naming"
    if path.suffix.lower() in (".h5", ".hdf5"):
        return "of HDF5 only train_data.h5 and test_data.h5 are known"
    return "only .nii and .nii.gz are read here; convert it"


def _files(root: pathlib.Path) -> list[pathlib.Path]:
    """Every file below root that is not hidden, sorted; archives for Macs hold a hidden double of each file."""
    paths, visited = [], set()
    for folder, below, names in os.walk(root, followlinks=True):
        visited.add(os.path.realpath(folder))
        # A link to a folder already seen would be walked again, for ever if it leads upwards.
        below[:] = sorted(name for name in below if os.path.realpath(os.path.join(folder, name)) not in visited)
        paths += [pathlib.Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(paths)


def _subject(root: pathlib.Path, family: str, name: str, files: Mapping[pathlib.Path, Named]) -> Subject:
    """One subject of its files, which may lie in several folders where no two hold the same modality."""
    by_kind: dict[str, pathlib.Path] = {}
    for path, named in files.items():
        other = by_kind.setdefault(named.kind, path)
        if other != path and files[other].folder == named.folder:
            raise UserError(
                f"{path}: {name} has this file twice, also as {_told_apart(other, path)}; remove one of them"
            )
        if other != path:
            raise UserError(
                f"{root}: subject {name} is found twice, in {files[other].folder} and in {named.folder}; "
                "remove or rename one"
            )
    folders = sorted({named.folder for named in files.values()})
    folder = pathlib.Path(os.path.commonpath(folders))
    annotation = by_kind.pop("seg", None)
    return Subject(name, _generation(name, files, annotation), by_kind, annotation, folder)


def _with_masks(
    subjects: Sequence[Subject], passed_over: dict[pathlib.Path, str], mask_names: Sequence[str]
) -> list[Subject]:
    """Subjects with the masks of unknown name that are theirs; those are no longer passed over."""
    unused = [
        path
        for path, why in passed_over.items()
        if why != IGNORED and naming.stem(path) and path.parent.name != "imagesTs"
    ]
    volumes = [subject for subject in subjects if subject.generation not in ("msd", "hdf5")]
    found = {subject.name: subject for subject in masks.assign(volumes, unused, mask_names)}
    for subject in found.values():
        if subject.annotation:
            passed_over.pop(subject.annotation, None)
    return [found.get(subject.name, subject) for subject in subjects]


def _told_apart(other: pathlib.Path, path: pathlib.Path) -> str:
    return other.name if other.parent == path.parent else str(other)


def _generation(name: str, files: Mapping[pathlib.Path, Named], annotation: pathlib.Path | None) -> str:
    said = {named.generation for named in files.values()} - {""}
    if len(said) > 1 and annotation:
        raise UserError(
            f"{annotation}: {name} has files named as BraTS 2018-2021 and as 2023-2024 have them, whose "
            "labels differ; name them all as the one whose labels these are"
        )
    return min(said, default="brats2018")


def _check(root: pathlib.Path, subjects: Sequence[Subject]) -> None:
    seen: dict[str, pathlib.Path] = {}
    for subject in subjects:
        if subject.name in seen:
            raise UserError(
                f"{root}: subject {subject.name} is found twice, in {seen[subject.name]} and in "
                f"{subject.folder}; remove or rename one"
            )
        seen[subject.name] = subject.folder
    generations = {subject.generation for subject in subjects}
    if "hdf5" in generations and len(generations) > 1:
        raise UserError(
            f"{root}: holds both the authors' HDF5 files and NIfTI subjects; prepare them one by one, each "
            "from its own folder"
        )
    for folder in {subject.folder for subject in subjects if subject.generation == "msd"}:
        check_msd_json(folder / "dataset.json")


def check_msd_json(path: pathlib.Path) -> None:
    """Checks that MSD's dataset.json at `path`, when present, has the channels and the labels that are read here.

    Raises:
      UserError: names what was found instead; swapped modalities would otherwise go unseen.
    """
    if not path.is_file():
        return
    try:
        described = guarded.read_json(path)
        channels = [str(described["modality"][str(i)]) for i in range(len(described["modality"]))]
        labels = {str(value): str(name) for value, name in described["labels"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: 'modality' and 'labels' cannot be read ({type(error).__name__}); restore "
            "the file that came with the data"
        ) from error
    if tuple(MSD_CHANNEL_NAMES.get(channel.lower()) for channel in channels) != MSD_CHANNELS:
        raise UserError(
            f"{path}: channels are {', '.join(channels)} where FLAIR, T1w, t1gd, T2w are expected in this "
            "order; reorder the channels of the images and this file, or split them into BraTS-named files"
        )
    found = {value: _spelling(name) for value, name in labels.items() if value != "0"}
    if found != {value: _spelling(name) for value, name in MSD_LABELS.items()}:
        raise UserError(
            f"{path}: labels are {labels} where {MSD_LABELS} are expected; renumber the annotations and this file"
        )


def _spelling(label: str) -> str:
    """One spelling of a label: the official file writes both 'tumor' and 'tumour', others 'oedema'."""
    return re.sub(r"[^a-z]", "", label.lower().replace("tumour", "tumor").replace("oedema", "edema"))
