"""The train command as a process of its own, on the tiny dataset."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import time

import pytest

from fusioninn_jax.training.train_log import TRAIN_FILE, read_lines

ROOT = pathlib.Path(__file__).parents[1]
DEADLINE = 600  # seconds for a subprocess, on a busy machine


def start(workdir: pathlib.Path, data_dir: pathlib.Path, *more: str) -> subprocess.Popen[str]:
    """Starts the run of `tiny_config` in `workdir`; `more` are further flags."""
    command = [
        sys.executable,
        "-m",
        "fusioninn_jax.train",
        f"--config=tests/tiny_config.py:{data_dir}",
        f"--workdir={workdir}",
        *more,
    ]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def wait_for_step(process: subprocess.Popen[str], workdir: pathlib.Path, step: int) -> None:
    """Returns once the run has logged `step`; fails the test where it ends before."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        records = read_lines(workdir / TRAIN_FILE)
        if records and records[-1]["step"] >= step:
            return
        if process.poll() is not None:
            pytest.fail(f"the run ended by itself: {process.communicate()[1]}")
        time.sleep(0.02)
    pytest.fail("the run took too long")
