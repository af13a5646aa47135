"""Which subjects a folder holds, told from file names alone (no voxel is read here).

| generation | files of a subject |
|---|---|
| BraTS 2018-2021 | `<id>_{t1,t1ce,t2,flair,seg}.nii[.gz]` |
| BraTS 2023-2024 | `<id>-{t1n,t1c,t2w,t2f,seg}.nii[.gz]` |
| MSD Task01 | `imagesTr/BRATS_<n>.nii[.gz]`, 4-D, and `labelsTr/BRATS_<n>.nii[.gz]` |
| FusionINN's authors | `train_data.h5`, `test_data.h5` |
"""
from __future__ import annotations

import difflib
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from fusioninn_jax.runtime.errors import UserError

ALIASES = {"t1": "t1", "t1n": "t1", "t1gd": "t1gd", "t1ce": "t1gd", "t1c": "t1gd", "t2": "t2", "t2w": "t2",
           "flair": "flair", "t2f": "flair"}
MODALITIES = ("t1", "t1gd", "t2", "flair")
MSD_CHANNELS = ("flair", "t1", "t1gd", "t2")
MSD_CHANNEL_NAMES = {"flair": "flair", "t2-flair": "flair", "t1w": "t1", "t1": "t1", "t1gd": "t1gd", "t1-gd": "t1gd",
                     "t1ce": "t1gd", "t2w": "t2", "t2": "t2"}
MSD_LABELS = {"1": "edema", "2": "non-enhancing tumor", "3": "enhancing tumour"}
HDF5_SPLITS = {"train_data.h5": "train", "test_data.h5": "validation"}
UNDERSTOOD = ("<id>_{t1,t1ce,t2,flair,seg}.nii[.gz] (BraTS 2018-2021), <id>-{t1n,t1c,t2w,t2f,seg}.nii[.gz] "
              "(BraTS 2023-2024), imagesTr/BRATS_<n>.nii[.gz] with labelsTr/ (MSD Task01), train_data.h5 and "
              "test_data.h5 (the authors' HDF5)")

_OLD = re.compile(r"(?P<id>.+)_(?P<kind>t1|t1ce|t2|flair|seg)\.nii(\.gz)?", re.IGNORECASE)
_NEW = re.compile(r"(?P<id>.+)-(?P<kind>t1n|t1c|t2w|t2f|seg)\.nii(\.gz)?", re.IGNORECASE)
_MSD = re.compile(r"(?P<id>BRATS_\d+)\.nii(\.gz)?")


class Subject(NamedTuple):
    """The files of one subject.

    Attributes:
      name: patient id, or the file's stem for HDF5.
      generation: 'brats2018', 'brats2023', 'msd' or 'hdf5'; it tells the meaning of the labels.
      images: modality -> file; MSD and HDF5 have one file for all, under 'all'.
      annotation: the label volume, None where there is none.
      folder: where the files lie.
    """
    name: str
    generation: str
    images: dict[str, pathlib.Path]
    annotation: pathlib.Path | None
    folder: pathlib.Path


def parse_modalities(names: Sequence[str]) -> tuple[str, ...]:
    """Canonical names ('t1', 't1gd', 't2', 'flair') of two or more modalities or aliases, in the order given.

    Raises:
      UserError: an unknown name, a modality given twice, fewer than two.
    """
    for name in names:
        if name.lower() not in ALIASES:
            close = difflib.get_close_matches(name.lower(), ALIASES, n=1, cutoff=0.4)
            raise UserError(f"modalities: unknown '{name}'; " + (f"did you mean '{close[0]}'? " if close else "")
                            + f"known are {', '.join(ALIASES)}")
    canonical = tuple(ALIASES[name.lower()] for name in names)
    if len(canonical) < 2 or len(set(canonical)) != len(canonical):
        raise UserError(f"modalities: {','.join(names) or 'none given'}; give two or more different ones of "
                        f"{', '.join(MODALITIES)}")
    return canonical


def find_subjects(root: pathlib.Path) -> tuple[list[Subject], list[pathlib.Path]]:
    """All subjects below a folder, sorted by name, and the image files of no known naming, which are passed over.

    Raises:
      UserError: no such folder, no subject, a subject or a file of it found twice, HDF5 beside NIfTI, an MSD
        dataset.json that names other channels or labels.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that holds the unpacked data")
    found: dict[tuple[pathlib.Path, str, str], dict[str, pathlib.Path]] = {}
    passed_over = []
    for path in _files(root):
        key = _recognise(path)
        if key is None:
            passed_over += [path] if path.name.endswith((".nii", ".nii.gz", ".h5")) else []
            continue
        name, generation, folder, kind = key
        files = found.setdefault((folder, name, generation), {})
        if kind in files:
            raise UserError(f"{path}: {name} has this file twice, also as {files[kind].name}; remove one of them")
        files[kind] = path
    subjects = [Subject(name, generation, {k: f for k, f in files.items() if k != "seg"}, files.get("seg"), folder)
                for (folder, name, generation), files in found.items()]
    if not subjects:
        raise UserError(f"{root}: no subject found; understood are {UNDERSTOOD}")
    _check(root, subjects)
    return sorted(subjects, key=lambda subject: subject.name), passed_over


def _files(root: pathlib.Path) -> list[pathlib.Path]:
    """Every file below root that is not hidden, sorted; archives for Macs hold a hidden double of each file."""
    paths, visited = [], set()
    for folder, below, names in os.walk(root, followlinks=True):
        visited.add(os.path.realpath(folder))
        # A link to a folder already seen would be walked again, for ever if it leads upwards.
        below[:] = sorted(name for name in below if os.path.realpath(os.path.join(folder, name)) not in visited)
        paths += [pathlib.Path(folder, name) for name in names if not name.startswith(".")]
    return sorted(paths)


def _recognise(path: pathlib.Path) -> tuple[str, str, pathlib.Path, str] | None:
    """(subject, generation, folder, canonical modality or 'seg' or 'all') of a file, or None."""
    if path.name in HDF5_SPLITS:
        return path.stem, "hdf5", path.parent, "all"
    if path.parent.name in ("imagesTr", "labelsTr"):
        match = _MSD.fullmatch(path.name)
        kind = "all" if path.parent.name == "imagesTr" else "seg"
        return (match["id"], "msd", path.parent.parent, kind) if match else None
    for pattern, generation in ((_OLD, "brats2018"), (_NEW, "brats2023")):
        match = pattern.fullmatch(path.name)
        if match:
            kind = match["kind"].lower()
            return match["id"], generation, path.parent, ALIASES.get(kind, kind)
    return None


def _check(root: pathlib.Path, subjects: Sequence[Subject]) -> None:
    seen: dict[str, pathlib.Path] = {}
    for subject in subjects:
        if subject.name in seen:
            raise UserError(f"{root}: subject {subject.name} is found twice, in {seen[subject.name]} and in "
                            f"{subject.folder}; remove or rename one")
        seen[subject.name] = subject.folder
    generations = {subject.generation for subject in subjects}
    if "hdf5" in generations and len(generations) > 1:
        raise UserError(f"{root}: holds both the authors' HDF5 files and NIfTI subjects; prepare them one by one, each "
                        "from its own folder")
    for folder in {subject.folder for subject in subjects if subject.generation == "msd"}:
        check_msd_json(folder / "dataset.json")


def check_msd_json(path: pathlib.Path) -> None:
    """Checks that MSD's dataset.json, when present, has the channels and the labels that are read here.

    Raises:
      UserError: names what was found instead; swapped modalities would otherwise go unseen.
    """
    if not path.is_file():
        return
    try:
        described = json.loads(path.read_text())
        channels = [str(described["modality"][str(i)]) for i in range(len(described["modality"]))]
        labels = {str(value): str(name) for value, name in described["labels"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: 'modality' and 'labels' cannot be read ({type(error).__name__}: {error}); restore "
                        "the file that came with the data") from error
    if tuple(MSD_CHANNEL_NAMES.get(channel.lower()) for channel in channels) != MSD_CHANNELS:
        raise UserError(f"{path}: channels are {', '.join(channels)} where FLAIR, T1w, t1gd, T2w are expected in this "
                        "order; reorder the channels of the images and this file, or split them into BraTS-named files")
    found = {value: _spelling(name) for value, name in labels.items() if value != "0"}
    if found != {value: _spelling(name) for value, name in MSD_LABELS.items()}:
        raise UserError(f"{path}: labels are {labels} where {MSD_LABELS} are expected; renumber the annotations and "
                        "this file")


def _spelling(label: str) -> str:
    """One spelling of a label: the official file writes both 'tumor' and 'tumour', others 'oedema'."""
    return re.sub(r"[^a-z]", "", label.lower().replace("tumour", "tumor").replace("oedema", "edema"))
