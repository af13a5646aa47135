"""What `data.prepare` says of what it left out, changed or joined; all of it is in metadata.json too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SHOWN = 10  # names in a line


def lines(metadata: Mapping[str, Any]) -> Iterator[str]:
    """One line for each kind of thing in a dataset's `metadata` that a user may not expect."""
    counts = metadata.get("counts", {})
    passed_over = metadata.get("passed_over", {})
    if passed_over:
        yield f"image files passed over: {len(passed_over)}"
        yield from listed([f"{file}: {why}" for file, why in passed_over.items()])
    elif counts.get("files_not_understood"):  # of a dataset from before there was a list
        yield f"image files passed over, their naming not being understood: {counts['files_not_understood']}"
    if counts.get("subjects_without_slices"):
        yield f"subjects of which no slice is kept: {counts['subjects_without_slices']}"
        yield from listed(metadata.get("without_slices", []))
    bare = metadata.get("not_annotated", [])
    if bare and metadata.get("has_mask"):  # some have an annotation
        yield f"subjects without an annotation, whose slices are kept by their brain alone: {len(bare)}"
        yield from listed(bare)
    patients = metadata.get("patients", {})
    if len(set(patients.values())) < len(patients):
        yield (
            f"{len(patients)} subjects are scans of {len(set(patients.values()))} patients; a patient's scans stay "
            "on one side of a split by patient"
        )
    yield from listed(metadata.get("copies", []))
    yield from _voxels(counts)
    for subject, reason in counts.get("skipped", {}).items():
        yield f"skipped {subject}: {reason}"


def _voxels(counts: Mapping[str, Any]) -> Iterator[str]:
    """Of voxels that were changed."""
    negative = counts.get("negative_voxels", {})
    if negative:
        yield (
            f"negative voxels clipped to 0: {sum(negative.values())} in {len(negative)} subjects: "
            + inline([f"{subject} {count}" for subject, count in negative.items()])
        )
    backgrounds = counts.get("backgrounds", {})
    if backgrounds:
        yield (
            f"background that is not 0, or not the smallest value, made 0 in {len(backgrounds)} subjects: "
            + inline(
                [
                    f"{subject} " + " ".join(f"{modality} {value:.4g}" for modality, value in of_subject.items())
                    for subject, of_subject in backgrounds.items()
                ]
            )
        )


def listed(entries: list[str]) -> Iterator[str]:
    """`entries` one a line, the first few."""
    for entry in entries[:SHOWN]:
        yield f"  {entry}"
    if len(entries) > SHOWN:
        yield f"  ... and {len(entries) - SHOWN} more, see metadata.json"


def inline(entries: list[str]) -> str:
    """`entries` in one line, the first few."""
    return ", ".join(entries[:SHOWN]) + (", ..." if len(entries) > SHOWN else "")
