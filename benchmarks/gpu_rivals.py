"""PyTorch's side of gpu.py, in processes of its own: they compile while ours does, and time when they are told to."""

from __future__ import annotations

import json
import pathlib
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from benchmarks.gpu_cases import Case

SCRIPT = pathlib.Path(__file__).with_name("gpu_torch.py")
PATIENCE = 45  # seconds without a row after which a process is given up


class Rivals:
    """One process for each case.

    Args:
      cases: what to time.
      folder: for the weights and images that are compared.
      seconds: to compile in; forms that are not ready then are left out.
    """

    def __init__(self, cases: list[Case], folder: str, seconds: int) -> None:
        self.folder, self.end = pathlib.Path(folder), time.time() + seconds
        subprocess.run([sys.executable, SCRIPT, "weights", folder], check=True, capture_output=True, timeout=60)
        self.weights = dict(np.load(self.folder / "weights.npz"))
        self.running = {case: _Process(case, folder, self.end) for case in cases}

    def wait(self) -> None:
        """Until all have compiled, or the time for it is over; a grace for the form that is being compiled."""
        for process in self.running.values():
            process.wait_ready(max(self.end + 10 - time.time(), 0.1))

    def rows(self, case: Case) -> Iterator[Any]:
        """(form, precision, seconds, seconds queued, MB) of every form that was compiled in time."""
        yield from self.running[case].rows()

    def images(self, case: Case) -> list[np.ndarray]:
        """Fused image, latent and both sources, (B, 1, H, W) each, of the eager form in float32."""
        with np.load(self.folder / f"{case.kind}-{case.batch}.npz") as file:
            return [file[name] for name in file.files]

    def close(self) -> None:
        """Ends them."""
        for process in self.running.values():
            process.end()


class _Process:
    def __init__(self, case: Case, folder: str, end: float) -> None:
        self.case, self.ready = case, False
        self.errors = (pathlib.Path(folder) / f"{case.kind}-{case.batch}-{case.size}.log").open("w+")
        command = [sys.executable, str(SCRIPT), "time", folder, *map(str, case), str(end)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_forward, args=(self.process.stdout, self.lines), daemon=True).start()

    def wait_ready(self, seconds: float) -> None:
        try:
            self.ready = self.lines.get(timeout=seconds).strip() == "ready"
        except queue.Empty:
            self.end()
        if not self.ready:
            self.errors.seek(0)
            print(f"(PyTorch, {self.case}: not ready; {self.errors.read().strip()[-200:]})", flush=True)

    def rows(self) -> Iterator[Any]:
        if not self.ready or self.process.stdin is None:
            return
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        while True:
            try:
                line = self.lines.get(timeout=PATIENCE)
            except queue.Empty:
                line = "(gave up waiting)"
            if line.startswith("["):
                yield json.loads(line)
                continue
            if line.strip() not in ("done", ""):
                print(f"(PyTorch, {self.case}: {line.strip()})", flush=True)
            if not line.startswith("failed"):
                self.end()
                return

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def _forward(stream: IO[str] | None, lines: queue.Queue[str]) -> None:
    for line in stream or ():
        lines.put(line)
    lines.put("")
