"""Starts one training as several processes on this machine, on the tiny dataset."""

from __future__ import annotations

import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from fusioninn_jax.training.train_log import TRAIN_FILE, read_lines

ROOT = pathlib.Path(__file__).parents[1]
DEADLINE = 600  # seconds, on a busy machine


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as server:
        server.bind(("localhost", 0))
        return server.getsockname()[1]


def start(command: Sequence[str], processes: int, devices: int) -> list[subprocess.Popen[str]]:
    """`python -m COMMAND` as `processes` processes of `devices` simulated devices each."""
    kept = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": " ".join([*kept, f"--xla_force_host_platform_device_count={devices}"]),
    }
    port = free_port()
    joining = [
        [f"--coordinator_address=localhost:{port}", f"--num_processes={processes}", f"--process_id={i}"]
        if processes > 1
        else []
        for i in range(processes)
    ]
    return [
        subprocess.Popen(
            [sys.executable, "-m", *command, *flags],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for flags in joining
    ]


def train(
    workdir: pathlib.Path, data_dir: pathlib.Path, processes: int, devices: int, *settings: str
) -> list[subprocess.Popen[str]]:
    """The tiny training of tests/tiny_config.py."""
    return start(
        ["fusioninn_jax.train", f"--config=tests/tiny_config.py:{data_dir}", f"--workdir={workdir}", *settings],
        processes,
        devices,
    )


def end(running: Sequence[subprocess.Popen[str]], deadline: float = DEADLINE) -> list[tuple[int, str]]:
    """Waits; (exit code, what was said) of each."""
    said = [process.communicate(timeout=deadline) for process in running]
    return [(process.returncode, out + err) for process, (out, err) in zip(running, said, strict=True)]


def losses(workdir: pathlib.Path) -> list[tuple[int, float]]:
    """The loss curve of a run."""
    return [(record["step"], record["loss"]) for record in read_lines(workdir / TRAIN_FILE)]


def wait_for_step(running: Sequence[subprocess.Popen[str]], workdir: pathlib.Path, step: int) -> None:
    """Returns once the run has logged `step`.

    Raises:
      RuntimeError: it ended before, or took too long.
    """
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        curve = losses(workdir)
        if curve and curve[-1][0] >= step:
            return
        if any(process.poll() is not None for process in running):
            raise RuntimeError(f"the run ended by itself: {end(running)}")
        time.sleep(0.02)
    for process in running:
        process.kill()
    raise RuntimeError("the run took too long")
