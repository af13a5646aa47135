"""Results appear whole or not at all: written in a hidden folder beside their place, then moved there in one step.

Interrupts wait while results are moved and while temporary files are removed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.interrupts import uninterrupted
from fusioninn_jax.runtime.staging import NEW, OLD, STAGING, Stage, make_folder, sweep

WITHOUT_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL)
IsOwn = Callable[[pathlib.Path], bool]


def check(
    outputs: Sequence[pathlib.Path],
    *,
    inputs: Sequence[pathlib.Path] = (),
    overwrite: bool = False,
    is_own: IsOwn = lambda folder: False,
) -> None:
    """Says before the work begins what would stop the writing at its end, or would cost more than an older result.

    Places are compared as they really are, symbolic links followed, and by containment.

    Args:
      outputs: files and folders to be written.
      inputs: files and folders that are read.
      overwrite: whether older results may be replaced.
      is_own: whether a folder is an older result, made by this program and holding nothing else.

    Raises:
      UserError: an output is there already (without `overwrite`); it is an input, holds one, or lies in one; it is
        another output or lies in one; it is a folder that is not ours, or no file; its folder cannot be written to.
    """
    places = [_Place.of(output) for output in outputs]
    for i, (place, output) in enumerate(zip(places, outputs, strict=True)):
        for path in inputs:
            _check_apart(output, place, path, _Place.of(path))
        if place.key in [other.key for other in places[:i] + places[i + 1 :]]:
            raise UserError(f"{output}: named twice as an output; give each its own name")
        for other, name in zip(places, outputs, strict=True):
            if other.key in place.above:
                raise UserError(f"{output}: lies inside the output {name}; give it a place outside")
        if os.path.lexists(output):
            if not overwrite:
                raise _exists(output)
            _check_replaceable(output, is_own)
        _check_folder(output)


class _Place(NamedTuple):
    """Where a path really lies: what it is, and the folders above it, by inode where they are there."""

    key: object
    above: list[object]

    @classmethod
    def of(cls, path: pathlib.Path) -> _Place:
        """The place of a path that need not exist.

        Raises:
          UserError: a name that no file can have.
        """
        try:
            real = pathlib.Path(os.path.realpath(path))
        except (OSError, ValueError) as error:
            raise UserError(f"{str(path)!r}: not a name that a file can have; choose another") from error
        key, *above = [_identity(place) for place in (real, *real.parents)]
        return cls(key, above)


def _identity(path: pathlib.Path) -> object:
    try:
        found = path.stat()
        return found.st_dev, found.st_ino
    except OSError:
        return path


def _check_apart(output: pathlib.Path, place: _Place, path: pathlib.Path, of_input: _Place) -> None:
    if place.key == of_input.key:
        raise UserError(f"{output}: is an input too; give the output another name")
    if place.key in of_input.above:
        raise UserError(
            f"{output}: is the folder of the input {path}; give the output a name inside it, or another folder"
        )
    if of_input.key in place.above:
        raise UserError(f"{output}: lies inside the input {path}; give the output a place outside")


def _exists(output: pathlib.Path) -> UserError:
    return UserError(f"{output}: exists already; choose another name, or --overwrite")


def _check_replaceable(output: pathlib.Path, is_own: IsOwn) -> None:
    """Raises UserError for what must not be replaced: a foreign folder, a pipe, a device."""
    mode = output.lstat().st_mode
    if stat.S_ISDIR(mode):
        if not is_own(output):
            raise UserError(
                f"{output}: is a folder that holds more than an older result of this command; nothing is "
                "removed there: choose another name"
            )
    elif not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise UserError(f"{output}: is a pipe, device or socket; give the name of a file")
    elif stat.S_ISLNK(mode) and output.is_dir():
        raise UserError(f"{output}: is a symbolic link to a folder; name the folder itself")


def _check_folder(output: pathlib.Path) -> None:
    """The folder, or the nearest one above it that is there, takes files; nothing is made there that outlives this."""
    folder = output.absolute().parent
    try:
        there = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        with tempfile.TemporaryFile(dir=there):
            pass
        if len(os.fsencode(output.name)) > os.pathconf(there, "PC_NAME_MAX"):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    except OSError as error:
        raise _unwritable(output, error) from error


def _unwritable(output: pathlib.Path, error: OSError) -> UserError:
    return UserError(
        f"{output}: cannot be written ({error.strerror or error}); make room there, or choose a folder "
        "that you may write to"
    )


@contextlib.contextmanager
def new_files(
    *outputs: pathlib.Path, overwrite: bool = True, is_own: IsOwn | None = None
) -> Iterator[list[pathlib.Path]]:
    """Temporary paths, with the outputs' names, that are moved to the outputs where the block succeeds: all or none.

    A file replaces a file, a folder a folder, never one the other. Folders above the outputs are made, and removed
    again where the block fails.

    Args:
      *outputs: files and folders.
      overwrite: replace what is there by then; else whoever comes second gets the error.
      is_own: asked once more before a folder is replaced; None where `check` is guard enough.

    Raises:
      UserError: the disk is full, the folder cannot be written to, an output came to be there in the meantime.
    """
    if any("://" in os.fspath(output) for output in outputs):
        with _new_objects(outputs, overwrite) as objects:
            yield objects
        return
    outputs = tuple(pathlib.Path(os.fspath(output)) for output in outputs)  # `epath` has not all that is needed here
    made: list[pathlib.Path] = []
    stages: dict[pathlib.Path, Stage] = {}
    try:
        with uninterrupted():
            for folder in dict.fromkeys(output.absolute().parent for output in outputs):
                made += make_folder(folder)
                sweep(folder)
                stages[folder] = Stage(folder)
        yield [stages[output.absolute().parent].folder / NEW / output.name for output in outputs]
        with uninterrupted():
            _move([(stages[output.absolute().parent].folder, output) for output in outputs], overwrite, is_own)
            made.clear()
    except OSError as error:
        raise _unwritable(outputs[0], error) from error
    finally:
        with uninterrupted():
            for stage in stages.values():
                stage.remove()
            for folder in made:
                with contextlib.suppress(OSError):  # another process writes there
                    folder.rmdir()


@contextlib.contextmanager
def _new_objects(outputs: Sequence[pathlib.Path], overwrite: bool) -> Iterator[list[pathlib.Path]]:
    """`new_files` in an object store (`epath` URLs): it has no locks, and no name that only one can take."""
    temporaries = [output.with_name(f"{STAGING}{secrets.token_hex(16)}-{output.name}") for output in outputs]
    try:
        for output in outputs:
            output.parent.mkdir(parents=True, exist_ok=True)
        yield temporaries
        for temporary, output in zip(temporaries, outputs, strict=True):
            if not overwrite and output.exists():
                raise _exists(output)
            temporary.replace(output)
    except OSError as error:
        raise _unwritable(outputs[0], error) from error
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def write_text(output: pathlib.Path, text: str) -> None:
    """Writes `text` as UTF-8 to `output`, a local file or one in a bucket; no half file is ever there.

    Raises:
      UserError: as `new_files`.
    """
    with new_files(output) as (temporary,):
        temporary.write_bytes(text.encode())


def _move(staged: list[tuple[pathlib.Path, pathlib.Path]], overwrite: bool, is_own: IsOwn | None) -> None:
    """Moves every result to its place; where one cannot go there, the others are taken back."""
    moved: list[tuple[pathlib.Path, pathlib.Path]] = []
    try:
        for stage, output in staged:
            new = stage / NEW / output.name
            _check_kind(new, output, overwrite, is_own)
            if overwrite:
                _replace(new, output, stage / OLD / output.name)
            else:
                _add(new, output)
            moved.append((stage, output))
    except BaseException:
        for stage, output in reversed(moved):
            output.rename(stage / NEW / output.name)
            if os.path.lexists(stage / OLD / output.name):
                (stage / OLD / output.name).rename(output)
        raise


def _check_kind(new: pathlib.Path, output: pathlib.Path, overwrite: bool, is_own: IsOwn | None) -> None:
    if not os.path.lexists(output):
        return
    if not overwrite:
        raise _exists(output)
    if new.is_dir() != (output.is_dir() and not output.is_symlink()):
        raise UserError(
            f"{output}: is {'no folder' if new.is_dir() else 'a folder'}; nothing is removed there: choose another name"
        )
    _check_replaceable(output, is_own or (lambda folder: True))


def _replace(new: pathlib.Path, output: pathlib.Path, old: pathlib.Path) -> None:
    """Moves a result to its place; what was there is kept as `old`. A file is never missing meanwhile."""
    try:
        if output.is_dir() and not output.is_symlink():
            output.rename(old)
        elif os.path.lexists(output):
            os.link(output, old, follow_symlinks=False)
    except OSError as error:
        if error.errno not in WITHOUT_LINKS:
            raise
        output.rename(old)
    try:
        new.rename(output)
    except OSError:
        if os.path.lexists(old):
            old.rename(output)
        raise


def _add(new: pathlib.Path, output: pathlib.Path) -> None:
    """Moves a result to a place where nothing is: of two processes one gets the error."""
    try:
        if new.is_dir():
            new.rename(output)  # refused by the system where a folder with files is there
        else:
            os.link(new, output)
            new.unlink()
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            raise _exists(output) from error
        if error.errno not in WITHOUT_LINKS or new.is_dir():
            raise
        _claim(output)
        try:
            new.rename(output)
        except BaseException:
            output.unlink()
            raise


def _claim(output: pathlib.Path) -> None:
    """Makes an empty file of that name, for file systems without hard links."""
    try:
        os.close(os.open(output, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    except FileExistsError as error:
        raise _exists(output) from error
