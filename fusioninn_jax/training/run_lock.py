"""One run in one folder: a lock that the kernel gives back however the run ends, SIGKILL included."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from typing import TextIO

from etils import epath

from fusioninn_jax.runtime import places
from fusioninn_jax.runtime.errors import UserError

FILE = ".lock"


@contextlib.contextmanager
def hold(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Holds the folder's lock inside the block.

    It is an flock, which local file systems, NFS and Lustre (mounted with `flock`) have. Object stores have none:
    there nothing is locked, and whoever starts a run sees to it that it is the only one.

    Args:
      folder: made where it is missing.

    Raises:
      UserError: another run holds it, or something else lies in its place.
    """
    path = places.folder(os.fspath(folder), "--workdir") / FILE
    with _opened(path, folder) as file:
        if file:
            _lock(file, folder)
        yield


def _opened(path: epath.Path, folder: str | os.PathLike[str]) -> contextlib.AbstractContextManager[TextIO | None]:
    """The file that is locked; None in an object store."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return contextlib.nullcontext() if "://" in os.fspath(path) else open(path, "a+")
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written to ({error.strerror} at {error.filename}); choose another "
            "--workdir, or move what is in the way"
        ) from error


def _lock(file: TextIO, folder: str | os.PathLike[str]) -> None:
    """Locks the open file, where its file system has locks, and writes into it who holds it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        raise UserError(
            f"{folder}: another run is at work there ({file.read().strip() or 'just started'}); wait "
            "until it ends, or use another --workdir"
        ) from error
    except OSError:  # a file system without locks
        return
    with contextlib.suppress(OSError):  # on a full disk the lock holds without a name on it
        file.truncate(0)
        file.write(f"host {socket.gethostname()}, process {os.getpid()}\n")
        file.flush()
