"""What can be wrong with a prepared dataset on disk, said in one line with the command that makes it anew."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Mapping
from typing import Protocol

from etils import epath

from fusioninn_jax.runtime import guarded
from fusioninn_jax.runtime.errors import UserError

RECORD_OVERHEAD = 16  # bytes that TFRecord adds to an example: its length, and two checksums
INFO, FEATURES, METADATA = "dataset_info.json", "features.json", "metadata.json"


def damaged(file: epath.Path, what: str) -> UserError:
    """The error that names `file`, of a prepared dataset, `what` is wrong with it, and how to make the dataset anew."""
    return UserError(f"{file}: {what}; prepare the dataset anew: {remake(file.parent)}")


def remake(folder: epath.Path) -> str:
    """The command that made the dataset in `folder`, as far as its metadata tells, with --overwrite."""
    data_dir, dataset, name = folder.parent.parent.parent, folder.parent.parent.name, folder.parent.name
    words = ["python", "-m", "data.prepare", dataset]
    if dataset == "brain_phantom":
        words.append(f"--config={name}")
    else:
        words += [f"--name={name}", *_options(folder)]
    return shlex.join([*words, f"--data_dir={os.fspath(data_dir)}", "--overwrite"])


def _options(folder: epath.Path) -> list[str]:
    """The settings in the metadata as the command's options; only the source is known where it cannot be read."""
    try:
        settings = guarded.read_json(folder / METADATA)["settings"]
        sources = settings.pop("source", "FOLDER")
        options = [f"--source={source}" for source in (sources if isinstance(sources, list) else [sources])]
        return options + [option for name, value in settings.items() for option in _option(name, value)]
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return ["--source=FOLDER"]


def _option(name: str, value: object) -> list[str]:
    if value is None or value is False or value == "":
        return []
    if value is True:
        return [f"--{name}"]
    return [f"--{name}={','.join(map(str, value)) if isinstance(value, list) else value}"]


def check_description(folder: epath.Path) -> None:
    """Raises `UserError` where a file that describes the dataset in `folder` is no JSON object, or is missing."""
    for name in (INFO, FEATURES, METADATA):
        if name == METADATA and not (folder / name).exists():
            continue
        try:
            content = guarded.read_json(folder / name)
        except (UserError, OSError, ValueError) as error:
            raise damaged(folder / name, f"cannot be read ({guarded.reason(error, folder / name)})") from error
        if not isinstance(content, dict):
            raise damaged(folder / name, "holds no description of a dataset")


class Split(Protocol):
    """What TFDS's SplitInfo says of a split: the names of its files, and how many bytes and examples they hold."""

    filenames: Iterable[str]
    num_bytes: int
    num_examples: int


def check_sizes(folder: epath.Path, splits: Mapping[str, Split]) -> None:
    """Raises `UserError` where files of examples are missing, or are longer or shorter than the description says.

    Args:
      folder: of the dataset.
      splits: name -> TFDS's SplitInfo. Nothing of the files is read.
    """
    for name, split in splits.items():
        files = [folder / file for file in split.filenames]
        for file in files:
            if not file.exists():
                raise damaged(file, f"is missing, of the split {name}")
        there = sum(file.stat().length for file in files)
        wanted = int(split.num_bytes) + RECORD_OVERHEAD * split.num_examples
        if there != wanted:
            raise damaged(files[0], f"the split {name} has {there} bytes where {wanted} were written")
