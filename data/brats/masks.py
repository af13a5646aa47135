"""Masks of unknown name: used where they are named, asked about beside a subject that has none.

A subject that is wrongly taken for one without annotation would be judged by its brain instead of its tumour, and its
labels lost.
"""

from __future__ import annotations

import fnmatch
import pathlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from data.brats import naming
from data.brats.naming import Subject
from fusioninn_jax.formats import volume_io
from fusioninn_jax.runtime.errors import UserError

MOST_LABELS = 16  # distinct whole numbers of a file that could be a mask


def assign(subjects: Sequence[Subject], unused: Sequence[pathlib.Path], patterns: Sequence[str]) -> list[Subject]:
    """Gives each subject without mask the file beside it that is one.

    Args:
      subjects: of NIfTI files, one for each modality.
      unused: NIfTI files that nothing else is made of.
      patterns: of files that are masks, as the user says.

    Raises:
      UserError: several masks of one subject, or a file that may be one.
    """
    near = _near(subjects, unused)
    return [
        subject if subject.annotation else _with_mask(subject, near[subject.name], patterns) for subject in subjects
    ]


def _near(subjects: Sequence[Subject], unused: Sequence[pathlib.Path]) -> Mapping[str, list[pathlib.Path]]:
    """The unused files that bear a subject's name, or lie in a folder that holds no other subject."""
    lone = {folder for folder, count in Counter(subject.folder for subject in subjects).items() if count == 1}
    names = sorted((subject.name for subject in subjects), key=len, reverse=True)
    result: dict[str, list[pathlib.Path]] = {name: [] for name in names}
    of_folder = {subject.folder: subject.name for subject in subjects if subject.folder in lone}
    for path in unused:
        bearing = next((name for name in names if re.match(rf"{re.escape(name)}(?![a-zA-Z0-9])", path.name)), None)
        owner = bearing or of_folder.get(path.parent)
        if owner:
            result[owner].append(path)
    return result


def _with_mask(subject: Subject, near: Sequence[pathlib.Path], patterns: Sequence[str]) -> Subject:
    named = [
        path
        for path in near
        if any(fnmatch.fnmatch(path.name, pattern) for pattern in patterns)
        or (subject.name, (naming.stem(path) or "").lower()) in naming.KNOWN_MASKS
    ]
    if len(named) > 1:
        raise UserError(f"{named[1]}: {subject.name} has this mask and {named[0].name}; name one of them by --masks")
    if named:
        return subject._replace(annotation=named[0])
    for path in near:
        if naming.looks_like_a_mask(path) or _holds_labels(path):
            raise UserError(
                f"{path}: is this the mask of {subject.name}, which has none? If so, add "
                f"--masks='{path.name}' (a pattern such as '*_labels.nii.gz' serves too); if not, "
                f"--ignore='{path.name}'"
            )
    return subject


def _holds_labels(path: pathlib.Path) -> bool:
    """Whether the voxels are two to sixteen whole numbers from 0 on."""
    try:
        values = np.unique(volume_io.read_nifti(path).voxels)
    except UserError:
        return False
    return bool(2 <= len(values) <= MOST_LABELS and values[0] >= 0 and (values == np.rint(values)).all())
