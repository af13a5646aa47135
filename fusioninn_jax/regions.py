"""The parts of a tumour that an annotation tells apart, and the labels that each collection gives them.

Wherever the package or a prepared dataset holds an annotation, its labels are those of BraTS 2018, named here.
"""
from __future__ import annotations

CORE, OEDEMA, CAVITY, ENHANCING = 1, 2, 3, 4
LABEL_NAMES = {CORE: "necrotic and non-enhancing core", OEDEMA: "oedema",
               CAVITY: "resection cavity (BraTS 2024 only)", ENHANCING: "enhancing tumour"}
# Collection -> label in its files -> ours. From 2023 on enhancing tumour is 3; 4 is the resection cavity of 2024's
# post-operative scans.
COLLECTIONS = {"brats2018": {0: 0, 1: CORE, 2: OEDEMA, 4: ENHANCING},
               "brats2023": {0: 0, 1: CORE, 2: OEDEMA, 3: ENHANCING, 4: CAVITY},
               "msd": {0: 0, 1: OEDEMA, 2: CORE, 3: ENHANCING}}
SCORED = {"oedema": OEDEMA, "enhancing": ENHANCING, "core": CORE}  # the parts whose conspicuity is measured, by name
