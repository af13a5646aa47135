"""Many studies in one go: one bad study never stops the others, and the same command again does what is left."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
from tqdm import tqdm

from fusioninn_jax.runtime import guarded, processes
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.words import counted

# names in the folder of each study; a DICOM series is a folder
FUSED, FUSED_DICOM, LATENT = "fused.nii.gz", "fused", "latent.nii.gz"


class Study(NamedTuple):
    """The folder of a study, relative to the root of the batch, and what matches each pattern in it."""

    folder: pathlib.Path
    found: list[list[pathlib.Path]]


def find(root: pathlib.Path, patterns: Sequence[str]) -> list[Study]:
    """Every folder from `root` down that holds a match of one of the `patterns` (globs) at least, sorted.

    Raises:
      UserError: no such folder, or no match anywhere.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that holds the studies")
    studies = []
    for folder in [root, *sorted(path for path in root.rglob("*") if path.is_dir())]:
        found = [sorted(folder.glob(pattern)) for pattern in patterns]
        if any(found):
            studies.append(Study(folder.relative_to(root), found))
    if not studies:
        raise UserError(
            f"{root}: nothing below it matches {' or '.join(patterns)}; give another folder, or mend --match of `fuse`"
        )
    return studies


def sources(study: Study, patterns: Sequence[str]) -> list[pathlib.Path]:
    """The series of a `study`, one for each of the `patterns` that it was found by.

    Raises:
      UserError: a pattern matches nothing or several.
    """
    for pattern, found in zip(patterns, study.found, strict=True):
        if len(found) != 1:
            raise UserError(f"{study.folder}: {len(found)} series match {pattern}; one is needed: mend --match")
    return [found[0] for found in study.found]


def run(
    studies: Sequence[Study], is_done: Callable[[Study], bool], process: Callable[[Study], None], done: str = "fused"
) -> int:
    """Processes the studies that are not done; prints what failed and a summary.

    Several processes deal them out; each says what failed of its own, and the first the summary of all.

    Args:
      studies: all of them.
      is_done: whether a study needs nothing more.
      process: does one study.
      done: what was done, for the summary.

    Returns:
      the exit code: 1 where a study failed, else 0.
    """
    own = studies[jax.process_index() :: jax.process_count()]
    left = [study for study in own if not is_done(study)]
    failed = 0
    bar = tqdm(left, unit=" studies", dynamic_ncols=True, disable=not processes.is_first())
    for study in bar:
        try:
            process(study)
        except UserError as error:
            failed += 1
            bar.write(f"failed: {error}")
        except Exception as error:  # whatever one study does, the others go on
            failed += 1
            bar.write(f"failed: {study.folder}: {type(error).__name__} ({guarded.why(error)})")
    finished, there, failed = (
        sum(of) for of in zip(*processes.gather([len(left) - failed, len(own) - len(left), failed]), strict=True)
    )
    if processes.is_first():
        print(f"{counted(finished, 'study', 'studies')} {done}, {there} were there already, {failed} failed")
    return 1 if failed else 0
