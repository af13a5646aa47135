"""The hidden folders in which results wait until they are whole; what a killed run left of them is removed.

Each has a random name, which nobody else can have, and holds a file that its writer keeps locked. A kernel gives the
lock back however a process ends, so a folder whose lock is free is provably dead; the next run that writes beside it
removes it.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import pathlib
import secrets
import shutil
import time

STAGING, LOCK, NEW, OLD = ".writing-", "lock", "new", "old"
BIRTH = 3600.0  # seconds; so long an unlocked folder may be one whose writer is about to lock it


def make_folder(folder: pathlib.Path) -> list[pathlib.Path]:
    """Makes `folder` and those above it; returns the ones that were missing, the deepest first."""
    missing = list(itertools.takewhile(lambda place: not place.exists(), (folder, *folder.parents)))
    folder.mkdir(parents=True, exist_ok=True)
    return missing


class Stage:
    """A hidden folder for results on their way, locked as long as this process lives."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder / f"{STAGING}{secrets.token_hex(16)}"
        self.folder.mkdir(mode=0o700)
        self._lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        with contextlib.suppress(OSError):  # a file system without locks: nobody will take the folder for dead
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            os.write(self._lock, b"locked\n")
        (self.folder / NEW).mkdir()
        (self.folder / OLD).mkdir()

    def remove(self) -> None:
        """Removes the folder with what is left in it."""
        shutil.rmtree(self.folder, ignore_errors=True)
        os.close(self._lock)


def sweep(folder: pathlib.Path) -> None:
    """Removes what killed runs left in `folder`; a result that they were about to replace goes back to its place."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if entry.name.startswith(STAGING) and entry.is_dir(follow_symlinks=False):
                _remove_dead(pathlib.Path(entry.path))


def _remove_dead(stage: pathlib.Path) -> None:
    """Removes one hidden folder, provided that its writer is dead."""
    with contextlib.suppress(OSError):
        is_old = time.time() - stage.lstat().st_mtime > BIRTH
        if not os.path.lexists(stage / LOCK):
            if is_old and {path.name for path in stage.iterdir()} <= {NEW, OLD}:
                shutil.rmtree(stage, ignore_errors=True)
            return
        lock = os.open(stage / LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_old or os.read(lock, 1):
                for old in (stage / OLD).iterdir() if (stage / OLD).is_dir() else ():
                    if not os.path.lexists(stage.parent / old.name):
                        old.rename(stage.parent / old.name)
                shutil.rmtree(stage, ignore_errors=True)
        finally:
            os.close(lock)
