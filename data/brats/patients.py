"""Which subjects are one patient: visits told from names, copies told from name mappings and from voxels.

The patient, not the visit, is the unit of a split: two scans of one head on two sides would be a leak.

| collection | name of a subject | patient |
|---|---|---|
| BraTS 2023-2024 | `BraTS-GLI-00005-100` | `BraTS-GLI-00005` |
| BraTS 2015-2019 | `Brats18_TCIA02_377_1` | `BraTS_TCIA02_377`, whatever the year |
| BraTS-MEN-RT | `BraTS-MEN-RT-0000-1` | `BraTS-MEN-RT-0000` |
| BraTS-Reg | `BraTSReg_001_00_0000` | `BraTSReg_001` |
| UPENN-GBM, UCSD-PTGBM, RHUH | `UPENN-GBM-00001_11` | `UPENN-GBM-00001` |
| BIDS | `sub-01_ses-A_acq-b` | `sub-01` |
| UCSF-PDGM | `UCSF-PDGM-0409_FU001d` | `UCSF-PDGM-0409` |
| others | `<patient>_<ses, visit, time point, week, ...><number>`, `<patient>_<date>`, once or more | `<patient>` |
"""

from __future__ import annotations

import csv
import pathlib
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from fusioninn_jax.runtime.errors import UserError

IDENTICAL = "identical voxels"
_NUMBERED = "ses(?:sion)?|visits?|vis|tp|time[ _-]?points?|weeks?|wk|months?|follow[ _-]?up|fu"
_NUMBERED_AFTER_DIGITS = "v|t|time|scan|exam|study|days?|years?|run|m|d|w"  # `glioma_study_1` names no visit
_ALONE = "baseline|base|bl|follow[ _-]?up|fu|pre|post|pre[_-]?op(?:erative)?|post[_-]?op(?:erative)?"
_DATE = r"(?:19|20)\d\d[_.-]?[01]\d[_.-]?[0-3]\d"
_NUMBER = r"[_.-]?\d+[a-z]?(?:[_-]\d+)?"
_VISITS = tuple(
    re.compile(rf"(?P<patient>{patient})[_. -]+(?:{visit})", re.IGNORECASE)
    for patient, visit in (
        (r".*\w", rf"(?:{_NUMBERED}){_NUMBER}|{_DATE}"),
        (r"(?:sub-|.*\d)(?:.*\w)?", rf"(?:{_NUMBERED_AFTER_DIGITS}){_NUMBER}|{_ALONE}"),
    )
)
_BRATS_YEARS = re.compile(r"brats(?:20)?1[5-9]_(?P<patient>.+)_\d+", re.IGNORECASE)  # ids are kept from year to year
_COLLECTIONS = (
    re.compile(r"(?P<patient>BraTS(?:-[A-Za-z]+)+-\d+)[-_]\d+.*", re.IGNORECASE),
    re.compile(r"(?P<patient>BraTSReg_\d+)_.+", re.IGNORECASE),
    re.compile(r"(?P<patient>(?:UPENN-GBM|UCSD-PTGBM|RHUH|LUMIERE)-\d+)_\d+", re.IGNORECASE),
    re.compile(r"(?P<patient>sub-[A-Za-z0-9]+)_.+", re.IGNORECASE),  # BIDS
)


class Patients(NamedTuple):
    """Who is who.

    Attributes:
      of: name of a subject -> name of its patient.
      copies: lines that tell which subjects of unlike names are one patient, and why.
    """

    of: dict[str, str]
    copies: tuple[str, ...]


def from_name(name: str) -> str:
    """The patient that a subject's name tells, visits cut off; the name itself where it tells of none."""
    if match := _BRATS_YEARS.fullmatch(name):
        return f"BraTS_{match['patient']}"
    for pattern in _COLLECTIONS:
        if match := pattern.fullmatch(name):
            return match["patient"]
    for pattern in _VISITS:
        if match := pattern.fullmatch(name):
            return from_name(match["patient"])
    return name


def identify(
    names: Collection[str],
    *,
    mappings: Iterable[Sequence[Sequence[str]]] = (),
    digests: Mapping[str, Collection[str]] | None = None,
    pattern: str = "",
) -> Patients:
    """Joins the subjects that are one patient.

    Args:
      names: of all subjects.
      mappings: tables of a data set, each row of which names one patient as several collections call it.
      digests: name -> digests of the subject's volumes; a volume that two subjects share makes them one patient.
      pattern: a regular expression whose first group is the patient, in place of the namings known here.

    Raises:
      UserError: a pattern that is none, or that a name does not match.
    """
    named = _by_pattern(pattern) if pattern else from_name
    parent = {name: name for name in sorted(names)}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    def join(group: Collection[str], why: str = "") -> None:
        roots = sorted({root(name) for name in group})
        if why and (len(roots) > 1 or why == IDENTICAL):
            copies.append(f"{', '.join(sorted(group))}: one patient ({why})")
        for other in roots[1:]:
            parent[other] = roots[0]

    copies: list[str] = []
    for group in _grouped({name: [named(name).casefold()] for name in names}):  # one id, however it is spelt
        join(group)
    called = _keyed({name: {name, from_name(name)} for name in names})
    for row in (row for table in mappings for row in table):
        join({name for cell in row for name in called.get(cell.strip(), ())}, "the data set's name mapping")
    for group in {tuple(group): None for group in _grouped(digests or {})}:
        join(group, IDENTICAL)
    first = {root(name): named(root(name)) for name in parent}
    return Patients({name: first[root(name)] for name in parent}, tuple(copies))


def _by_pattern(pattern: str) -> Callable[[str], str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise UserError(f"patient_pattern={pattern}: not a regular expression ({error})") from error
    if compiled.groups < 1:
        raise UserError(f"patient_pattern={pattern}: has no group; put the patient's part into (...)")

    def patient(name: str) -> str:
        match = compiled.match(name)
        if not match or not match[1]:
            raise UserError(f"patient_pattern={pattern}: does not match the subject {name}; widen it")
        return match[1]

    return patient


def _keyed(keys: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
    """Key -> the names that have it."""
    groups: dict[str, list[str]] = {}
    for name in sorted(keys):
        for key in sorted(keys[name]):
            groups.setdefault(key, []).append(name)
    return groups


def _grouped(keys: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Names that share a key, in groups of two or more."""
    return [group for _, group in sorted(_keyed(keys).items()) if len(group) > 1]


def read_mapping(path: pathlib.Path) -> list[list[str]]:
    """The rows of the name mapping at `path`, as BraTS 2019 and 2020 (CSV) and 2021 and 2023 (Excel) bring one.

    Raises:
      UserError: the file cannot be read.
    """
    try:
        if path.suffix.lower() == ".csv":
            text = path.read_text(encoding="utf-8-sig")
            return [row for row in csv.reader(text.splitlines(), csv.Sniffer().sniff(text[:2000], ",;\t"))]
        import openpyxl  # takes a third of a second to import

        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        return [[str(cell) for cell in row if cell is not None] for sheet in book for row in sheet.values]
    except Exception as error:  # csv, zip and XML each raise their own kinds
        raise UserError(
            f"{path}: cannot be read as a table of names ({type(error).__name__}); fetch it anew, or "
            "remove it: patients are then told from names and voxels alone"
        ) from error


def is_mapping(path: pathlib.Path) -> bool:
    """Whether the file `path` is a data set's table of names, told from its name."""
    return path.suffix.lower() in (".csv", ".xlsx") and "mapping" in path.name.lower()
