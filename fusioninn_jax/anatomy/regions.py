"""The parts of a tumour that an annotation tells apart, and the labels that each collection gives them.

Wherever the package or a prepared dataset holds an annotation, its labels are those of BraTS 2018, named here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

CORE, OEDEMA, CAVITY, ENHANCING = 1, 2, 3, 4
LABEL_NAMES = {
    CORE: "necrotic and non-enhancing core",
    OEDEMA: "oedema",
    CAVITY: "resection cavity (BraTS 2024 only)",
    ENHANCING: "enhancing tumour",
}
# Collection -> label in its files -> ours. From 2023 on enhancing tumour is 3; 4 is the resection cavity of 2024's
# post-operative scans.
COLLECTIONS = {
    "brats2018": {0: 0, 1: CORE, 2: OEDEMA, 4: ENHANCING},
    "brats2023": {0: 0, 1: CORE, 2: OEDEMA, 3: ENHANCING, 4: CAVITY},
    "msd": {0: 0, 1: OEDEMA, 2: CORE, 3: ENHANCING},
}
SCORED = {"oedema": OEDEMA, "enhancing": ENHANCING, "core": CORE}  # the parts whose conspicuity is measured, by name


def named(label_names: Mapping[str, str]) -> dict[str, int]:
    """Those of `SCORED` that a dataset's own names of its labels confirm: part -> label.

    Args:
      label_names: label, as text -> what it is; as in a prepared dataset's metadata.
    """
    return {part: label for part, label in SCORED.items() if part in label_names.get(str(label), "")}


def collection_of(file_name: str, labels: Collection[int]) -> str | None:
    """Whose labels an annotation has, told from its file's name and the labels in it: a key of `COLLECTIONS`.

    Args:
      file_name: e.g. `BraTS-GLI-00001-000-seg.nii.gz`, `BRATS_001.nii.gz` (MSD Task01).
      labels: those that occur, without 0.

    Returns:
      None where they are no tumour's parts: a single label (a binary mask), or labels that no collection has.
    """
    if len(labels) < 2:
        return None
    if re.match(r"BRATS_\d+\.", file_name):
        candidates = ["msd"]
    elif re.search(r"-seg\.", file_name, re.IGNORECASE):
        candidates = ["brats2023"]
    else:
        candidates = ["brats2018", "brats2023"]
    return next((name for name in candidates if set(labels) <= set(COLLECTIONS[name])), None)
