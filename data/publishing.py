"""A prepared dataset appears under its name whole or not at all: on a disk by a rename, in a bucket file by file.

An object store has no rename. There a dataset is built on this machine's disk and then copied, `dataset_info.json`
last: readers look for that file, so what lacks it is not there for them.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
import shutil
import socket
import tempfile
import uuid
from collections.abc import Iterator, Sequence

from etils import epath

from fusioninn_jax.prepared_data import INFO as LAST
from fusioninn_jax.runtime.errors import UserError, first_line

_OWN = re.compile(r"(dataset_info|features|metadata)\.json|[\w.-]+\.tfrecord-\d+-of-\d+")  # files of a dataset


def is_local(path: epath.Path) -> bool:
    """Whether a path lies on a mounted disk."""
    return "://" not in os.fspath(path)


def is_there(path: epath.Path) -> bool:
    """Whether something stands under the name `path`.

    Raises:
      UserError: the store cannot be asked.
    """
    try:
        return path.exists()
    except Exception as error:
        raise _unwritable(path, error) from error


def _unwritable(path: epath.Path, error: Exception) -> UserError:
    """Each store has its own kinds of errors."""
    return UserError(
        f"{path}: cannot be written ({first_line(error)[:200]}); choose another --data_dir or free space"
        + ("" if is_local(path) else "; a bucket needs credentials and a network")
    )


@contextlib.contextmanager
def staging(data_dir: epath.Path, name: str, *, shared: bool = False) -> Iterator[epath.Path]:
    """A new folder to build in, which is removed at the end of the block however that ends.

    Args:
      data_dir: where the dataset will lie. A local one is built beside its place, so that it can be renamed to it.
      name: tells in a listing what is being built.
      shared: other machines write into it too, so it lies in the bucket where `data_dir` does.

    Raises:
      UserError: `data_dir` cannot be written to.
    """
    local = is_local(data_dir)
    missing = [place for place in (data_dir, *data_dir.parents) if not place.exists()] if local else []
    _check_writable(data_dir)
    if local:
        _remove_dead(data_dir, name)
    own = f".preparing-{name}-{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    place = data_dir / own if local or shared else epath.Path(tempfile.mkdtemp(prefix=own))
    try:
        place.mkdir(parents=True, exist_ok=True)
        yield place
    finally:
        with contextlib.suppress(Exception):  # the error that brought us here matters more
            place.rmtree(missing_ok=True)
        for made in missing:  # folders above that hold nothing yet go too
            with contextlib.suppress(OSError, ValueError):
                made.rmdir()


def _check_writable(data_dir: epath.Path) -> None:
    """Writes a small file, so that hours of reading are not in vain."""
    probe = data_dir / f".probe-{uuid.uuid4().hex[:8]}"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
    except Exception as error:
        raise _unwritable(data_dir, error) from error


def _remove_dead(data_dir: epath.Path, name: str) -> None:
    """Removes what processes of this machine left that were killed, and that run no more."""
    start = f".preparing-{name}-{socket.gethostname()}-"
    for place in data_dir.glob(f".preparing-{name}-*"):
        process = place.name.removeprefix(start).partition("-")[0]
        if place.name.startswith(start) and process.isdigit() and not _runs(int(process)):
            with contextlib.suppress(OSError):
                place.rmtree()


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)  # sends nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True


def check_replaceable(final: epath.Path, inputs: Sequence[str] = ()) -> None:
    """Raises UserError where overwriting `final` would remove more than a prepared dataset, or one of `inputs`."""
    if not is_local(final) or not os.path.lexists(final):
        return
    real = pathlib.Path(os.path.realpath(final))
    for path in inputs:
        if real in (pathlib.Path(path), *pathlib.Path(path).parents):
            raise UserError(f"{final}: holds the source {path}; nothing is removed there: choose another --data_dir")
    foreign = (
        ["it is no folder"]
        if not final.is_dir() or os.path.islink(final)
        else sorted(place.name for place in final.iterdir() if place.is_dir() or not _OWN.fullmatch(place.name))
    )
    if foreign:
        raise UserError(
            f"{final}: holds more than a prepared dataset ({foreign[0]}); nothing is removed there: choose another "
            "--data_dir or --name"
        )


def publish(built: epath.Path, final: epath.Path, *, overwrite: bool) -> None:
    """Gives the whole dataset in the folder `built` its name, `final`, and replaces what is there if asked to.

    Raises:
      UserError: another run has put one there meanwhile, without `overwrite`.
    """
    if final.exists() and not overwrite:
        raise UserError(f"{final}: another run has prepared it meanwhile; use that one, or --overwrite")
    check_replaceable(final)
    final.parent.mkdir(parents=True, exist_ok=True)
    if is_local(built) and is_local(final):
        _rename(pathlib.Path(built), pathlib.Path(final))
    else:
        _copy(built, final)


def _rename(built: pathlib.Path, final: pathlib.Path) -> None:
    if final.exists():
        replaced = built.parent / f"replaced-{final.name}"
        final.rename(replaced)
        try:
            built.rename(final)
        except BaseException:
            replaced.rename(final)
            raise
        return
    built.rename(final)


def _copy(built: epath.Path, final: epath.Path) -> None:
    (final / LAST).unlink(missing_ok=True)  # the old one is no longer whole from here on
    names = sorted((path.name for path in built.iterdir()), key=lambda name: (name == LAST, name))
    final.mkdir(parents=True, exist_ok=True)
    try:
        for name in names:
            with (built / name).open("rb") as source, (final / name).open("wb") as target:
                shutil.copyfileobj(source, target, 1 << 24)
        for path in final.iterdir():
            if path.name not in names:
                path.unlink()
    except BaseException:
        with contextlib.suppress(Exception):
            final.rmtree(missing_ok=True)
        raise
