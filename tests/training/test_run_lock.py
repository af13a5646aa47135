"""training.run_lock: one run a folder, for as long as its block lasts."""

import fcntl
import os
import socket

import pytest

from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.training import run_lock


def test_a_folder_is_held_until_the_block_ends(tmp_path):
    folder = tmp_path / "new" / "run"
    with run_lock.hold(folder):
        told = f"another run is at work there .host {socket.gethostname()}, process {os.getpid()}.; wait"
        with pytest.raises(UserError, match=told), run_lock.hold(folder):
            pass
    with run_lock.hold(os.fspath(folder)):
        pass


def test_an_error_inside_gives_the_folder_back(tmp_path):
    with pytest.raises(KeyError), run_lock.hold(tmp_path):
        raise KeyError
    with run_lock.hold(tmp_path):
        pass


def test_what_lies_in_the_way_is_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "run" / run_lock.FILE).mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "run"):
        with pytest.raises(UserError, match=f"{folder}: cannot be written to .* choose another --workdir"):
            with run_lock.hold(folder):
                pass


def test_a_file_system_without_locks_locks_nothing(tmp_path, monkeypatch):
    def refuse(file, how):
        raise OSError("no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with run_lock.hold(tmp_path), run_lock.hold(tmp_path):
        pass
