"""Results appear whole or not at all: written under a temporary name, then renamed."""
from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence

from fusioninn_jax.runtime.errors import UserError


def check(outputs: Sequence[pathlib.Path], *, inputs: Sequence[pathlib.Path] = (), overwrite: bool = False) -> None:
    """Says before the work begins what would stop the writing at its end.

    Raises:
      UserError: an output is there already (without `overwrite`), is an input, is named twice, or its folder cannot
        be written to.
    """
    places = [output.absolute() for output in outputs]
    for place, output in zip(places, outputs, strict=True):
        if place.resolve() in [path.resolve() for path in inputs]:
            raise UserError(f"{output}: is an input too; give the output another name")
        if places.count(place) > 1:
            raise UserError(f"{output}: named twice as an output; give each its own name")
        if output.exists() and not overwrite:
            raise UserError(f"{output}: exists already; choose another name, or --overwrite")
        _check_folder(output)


def _check_folder(output: pathlib.Path) -> None:
    """The folder, or the nearest one above it that is there, takes files; nothing is made yet."""
    folder = output.absolute().parent
    there = next(place for place in (folder, *folder.parents) if place.exists())
    probe = _temporary(there / output.name)
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise _unwritable(output, error) from error


def _make_folder(folder: pathlib.Path) -> list[pathlib.Path]:
    """Makes a folder and those above it; returns the ones that were missing, the deepest first."""
    missing = list(itertools.takewhile(lambda place: not place.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _temporary(output: pathlib.Path) -> pathlib.Path:
    return output.with_name(f".writing-{os.getpid()}-{output.name}")


def _unwritable(output: pathlib.Path, error: OSError) -> UserError:
    return UserError(f"{output}: cannot be written ({error.strerror or error}); make room there, or choose a folder "
                     "that you may write to")


@contextlib.contextmanager
def new_files(*outputs: pathlib.Path) -> Iterator[list[pathlib.Path]]:
    """Temporary paths, with the outputs' endings, that are renamed to the outputs where the block succeeds.

    What is there under an output's name is replaced, a folder too; `check` is what guards it. Folders above the outputs
    are made, and removed again where the block fails.

    Raises:
      UserError: the disk is full, or the folder cannot be written to.
    """
    temporaries = [_temporary(output) for output in outputs]
    made: list[pathlib.Path] = []
    try:
        for temporary in temporaries:
            made += _make_folder(temporary.parent)
        yield temporaries
        for temporary, output in zip(temporaries, outputs, strict=True):
            if temporary.is_dir() or output.is_dir():  # a file replaces a file in one step, a folder needs two
                _remove(output)
            temporary.replace(output)
        made.clear()
    except OSError as error:
        raise _unwritable(outputs[0], error) from error
    finally:
        for temporary in temporaries:
            _remove(temporary)
        for folder in made:
            with contextlib.suppress(OSError):  # another process writes there
                folder.rmdir()


def _remove(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
