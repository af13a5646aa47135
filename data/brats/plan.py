"""Before anything is written: read and check every subject, choose the slices, draw the splits."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tqdm

from data import splits
from data.brats import layouts, patients, reading
from data.brats.naming import Subject
from data.brats.patients import Patients
from fusioninn_jax.formats import background
from fusioninn_jax.runtime.errors import UserError

VAL_FRACTION = {"patient": 0.1, "slice": 1153 / 9653}  # 'slice' is the paper's


class Settings(Protocol):
    """What the builder's config says."""

    modalities: Sequence[str]
    required_labels: Sequence[int]
    min_brain_fraction: float
    split_by: str
    val_fraction: float | None
    test_fraction: float
    validation_subjects: Sequence[str]
    test_subjects: Sequence[str]
    seed: int
    skip_bad: bool
    strict: bool
    background: Sequence[str]
    masks: Sequence[str]
    ignore: Sequence[str]
    patient_pattern: str


class Plan(NamedTuple):
    """What will be written.

    Attributes:
      subjects: those with at least one slice, sorted by name.
      split_of: (subject, slice number) -> split, of the chosen slices alone.
      metadata: to be kept with the prepared data.
    """

    subjects: tuple[Subject, ...]
    split_of: dict[tuple[str, int], str]
    metadata: dict[str, Any]


class _Scan(NamedTuple):
    """What reading every subject told: slices chosen, read and clipped, and why subjects were left out."""

    kept: dict[str, list[int]]
    read: int
    negative: dict[str, int]
    skipped: dict[str, str]
    backgrounds: dict[str, dict[str, float]]
    digests: dict[str, tuple[str, ...]]


def make_plan(root: pathlib.Path, settings: Settings) -> Plan:
    """Reads every subject of the folder `root` once, one at a time, as `settings` say.

    Raises:
      UserError: see `layouts.find_subjects`, `reading.read_slices` and `splits.assign`; also settings out of range,
        no slice chosen, a named subject without slices.
    """
    _check_settings(settings)
    found = layouts.find_subjects(root, mask_names=settings.masks, ignore=settings.ignore)
    subjects = found.subjects
    for option in ("test_subjects", "validation_subjects"):
        splits.check_named(option, getattr(settings, option), [subject.name for subject in subjects])
    mappings = [patients.read_mapping(path) for path in found.mappings]
    names = [subject.name for subject in subjects]
    patients.identify(names, pattern=settings.patient_pattern)  # a bad pattern is told before hours of reading
    scan = _scan(subjects, settings)
    patient = patients.identify(names, mappings=mappings, digests=scan.digests, pattern=settings.patient_pattern)
    if not any(scan.kept.values()):
        raise UserError(
            f"{root}: none of {scan.read} slices passes required_labels="
            f"{','.join(map(str, settings.required_labels))} min_brain_fraction="
            f"{settings.min_brain_fraction:g}; require fewer labels or less brain"
        )
    split_of = _split_slices(subjects, scan, settings, patient)
    used = tuple(subject for subject in subjects if scan.kept.get(subject.name))
    metadata = _metadata(used, split_of, scan, settings)
    metadata["counts"] |= {"subjects_found": len(subjects), "files_not_understood": len(found.passed_over)}
    metadata |= {
        "patients": {s.name: patient.of[s.name] for s in used},
        "copies": list(patient.copies),
        "passed_over": {str(path.relative_to(root)): why for path, why in found.passed_over.items()},
    }
    return Plan(used, split_of, metadata)


def _check_settings(settings: Settings) -> None:
    layouts.parse_modalities(settings.modalities)
    if settings.split_by not in VAL_FRACTION:
        raise UserError(f"split_by={settings.split_by}: unknown; choose {' or '.join(VAL_FRACTION)}")
    unknown = [label for label in settings.required_labels if str(label) not in reading.LABEL_NAMES]
    if unknown:
        raise UserError(
            f"required_labels: unknown {unknown[0]}; known are "
            + ", ".join(f"{label} ({name})" for label, name in reading.LABEL_NAMES.items())
        )
    if not 0 <= settings.min_brain_fraction <= 1:
        raise UserError(f"min_brain_fraction={settings.min_brain_fraction:g}: not in [0, 1]; the default is 0.05")
    if len(settings.background) not in (1, len(settings.modalities)):
        raise UserError(f"background={','.join(settings.background)}: give one for all modalities, or one for each")
    for text in settings.background:
        background.parse(text)
    if settings.seed < 0:
        raise UserError(f"seed={settings.seed}: negative; give 0 or more")
    both = set(settings.test_subjects) & set(settings.validation_subjects)
    if both:
        raise UserError(f"test_subjects: {min(both)} is also among validation_subjects; name it in one of them")
    for kind, fraction in (("validation", settings.val_fraction), ("test", settings.test_fraction)):
        if getattr(settings, f"{kind}_subjects") and fraction:
            raise UserError(f"{kind}_subjects: given together with a fraction for the same split; give one of the two")


def _scan(subjects: Sequence[Subject], settings: Settings) -> _Scan:
    modalities = layouts.parse_modalities(settings.modalities)
    asked = [background.parse(text) for text in settings.background]
    scan, read = _Scan({}, 0, {}, {}, {}, {}), 0
    for subject in tqdm.tqdm(subjects, desc="reading subjects", unit="subject", disable=None):
        kept: list[int] = []
        seen = negative = 0
        try:
            for block in reading.read_slices(subject, modalities, strict=settings.strict, backgrounds=asked):
                chosen = reading.keep(
                    block,
                    annotated=subject.annotation is not None,
                    required_labels=settings.required_labels,
                    min_brain_fraction=settings.min_brain_fraction,
                )
                kept += (np.flatnonzero(chosen) + block.first).tolist()
                seen, negative = seen + len(chosen), negative + block.negative
                scan.digests[subject.name] = tuple(filter(None, block.digests))
                if block.backgrounds:
                    scan.backgrounds[subject.name] = block.backgrounds
        except UserError as error:
            if not settings.skip_bad:
                raise
            scan.skipped[subject.name] = str(error)
            continue
        scan.kept[subject.name], read = kept, read + seen
        if negative:
            scan.negative[subject.name] = negative
    if not scan.kept:
        raise UserError(f"all {len(subjects)} subjects are bad, the first one: {next(iter(scan.skipped.values()))}")
    return scan._replace(read=read)


def _split_slices(
    subjects: Sequence[Subject], scan: _Scan, settings: Settings, patient: Patients
) -> dict[tuple[str, int], str]:
    if subjects[0].generation == "hdf5":  # the authors' own splits
        of_file = {subject.name: layouts.HDF5_SPLITS[subject.images["all"].name.lower()] for subject in subjects}
        split_of = {(name, i): of_file[name] for name, indices in scan.kept.items() for i in indices}
        if "train" not in split_of.values():
            raise UserError(f"{subjects[0].folder}: 'train' would be empty; train_data.h5 is missing or keeps no slice")
        return split_of
    named = _named_patients(scan, settings, patient)
    slices = [(name, i) for name, indices in scan.kept.items() for i in indices]
    by_slice = settings.split_by == "slice"
    unit_of = {key: f"{key[0]}/{key[1]:05d}" if by_slice else patient.of[key[0]] for key in slices}
    fraction = VAL_FRACTION[settings.split_by] if settings.val_fraction is None else settings.val_fraction
    drawn = splits.assign(
        {unit for (name, _), unit in unit_of.items() if patient.of[name] not in named},
        seed=settings.seed,
        val_fraction=0.0 if settings.validation_subjects else fraction,
        test_fraction=settings.test_fraction,
        what="slices" if by_slice else "patients",
    )
    return {key: named.get(patient.of[key[0]]) or drawn[unit] for key, unit in unit_of.items()}


def _named_patients(scan: _Scan, settings: Settings, patient: Patients) -> dict[str, str]:
    """Patient -> split, of those that the settings name: a subject that is named takes all its patient's along."""
    of_subject = dict.fromkeys(settings.validation_subjects, "validation") | dict.fromkeys(
        settings.test_subjects, "test"
    )
    named: dict[str, str] = {}
    for name, split in of_subject.items():
        if not scan.kept.get(name):
            raise UserError(
                f"{split}_subjects: {name} keeps no slice ({scan.skipped.get(name, 'all filtered out')}); "
                "name another subject"
            )
        if named.setdefault(patient.of[name], split) != split:
            raise UserError(
                f"{split}_subjects: {name} is a scan of {patient.of[name]}, another of whose scans is "
                f"named for {named[patient.of[name]]}; name them for one split"
            )
    return named


def _metadata(
    used: Sequence[Subject], split_of: Mapping[tuple[str, int], str], scan: _Scan, settings: Settings
) -> dict[str, Any]:
    of_split = {
        split: sorted({name for (name, _), s in split_of.items() if s == split})
        for split in splits.SPLITS
        if split in split_of.values()
    }
    authors_split = used[0].generation == "hdf5"
    return {
        "modalities": list(layouts.parse_modalities(settings.modalities)),
        "split_by": "file" if authors_split else settings.split_by,
        "seed": settings.seed,
        "has_mask": any(subject.annotation is not None for subject in used),
        "label_names": dict(reading.LABEL_NAMES),
        "subjects": of_split,
        "without_slices": sorted(name for name, kept in scan.kept.items() if not kept),
        "not_annotated": sorted(subject.name for subject in used if subject.annotation is None),
        "counts": {
            "subjects_without_slices": sum(not kept for kept in scan.kept.values()),
            "subjects": {split: len(names) for split, names in of_split.items()},
            "slices_read": scan.read,
            "slices": {split: sum(s == split for s in split_of.values()) for split in of_split},
            "negative_voxels": scan.negative,
            "backgrounds": scan.backgrounds,
            "skipped": scan.skipped,
        },
    }
