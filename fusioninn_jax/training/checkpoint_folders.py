"""Where the checkpoints of a run lie, and which there are; what is in one is `checkpoint`'s."""

from __future__ import annotations

import os
import sys

from etils import epath

from fusioninn_jax.runtime import places
from fusioninn_jax.runtime.errors import UserError, first_line

FOLDER = "checkpoints"
DAMAGED_ENDING = ".damaged"
Folder = str | os.PathLike[str]


def of(workdir: Folder) -> epath.Path:
    """The folder of the checkpoints of the run in `workdir`, local or in a bucket.

    Raises:
      UserError: a URL of a kind that is not known.
    """
    path = places.folder(os.fspath(workdir), "--workdir") / FOLDER
    return path if "://" in os.fspath(path) else path.absolute()


def steps(folder: epath.Path) -> list[int]:
    """The steps of the checkpoints in `folder`, oldest first; unfinished ones have other names."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def set_aside(folder: epath.Path, why: str, step: int) -> None:
    """Renames `folder`, a damaged checkpoint, so that it is no longer taken for one, and says so.

    Args:
      folder: of the checkpoint.
      why: it is held for damaged.
      step: that of the checkpoint which is used in its place.
    """
    aside = folder.parent / f"{folder.name}{DAMAGED_ENDING}"
    if aside.exists():
        aside.rmtree()
    folder.rename(aside)
    print(f"warning: {folder}: damaged ({why}), renamed to {aside.name}; going on from step {step}", file=sys.stderr)


def tell_failed_save(folder: epath.Path, error: Exception) -> None:
    """Says that a save below `folder` failed with `error`, and removes what is half-written."""
    kept = ", ".join(map(str, steps(folder))) or "none"
    print(
        f"warning: {folder}: a checkpoint could not be written ({short(error)}); training goes on, kept: {kept}",
        file=sys.stderr,
    )
    for path in folder.glob("*.orbax-checkpoint-tmp*"):
        path.rmtree(missing_ok=True)


def newest_step(workdir: Folder) -> int | None:
    """The step of the newest complete checkpoint of the run in `workdir`, or None where there is none."""
    return max(steps(of(workdir)), default=None)


def check_written(workdir: Folder, step: int) -> None:
    """Raises UserError where the newest checkpoint of the run in `workdir` is not that of `step`, the last."""
    newest = newest_step(workdir)
    if step and newest != step:
        raise UserError(
            f"{of(workdir)}: the last checkpoint, of step {step}, could not be written; make room "
            f"there, then the same command goes on from step {newest or 0}"
        )


def short(error: Exception, length: int = 200) -> str:
    """The first line of `error`; of a longer one its last `length` characters: TensorStore says last what happened."""
    line = first_line(error)
    return line if len(line) <= length else f"...{line[-length:]}"
