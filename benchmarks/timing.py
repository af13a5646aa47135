"""What the benchmarks share: synthetic brains, interleaved timing, memory, Markdown."""

from __future__ import annotations

import contextlib
import os
import pathlib
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import ndimage

SIZE = 240
PAUSE = 0.05  # seconds between two sides, for the threads of the one before to go to sleep
SETTLE = 0.1  # seconds of calls that are not counted, for the system to spread a side's own threads over the cores


def brains(seed: int, batch: int, size: int = SIZE) -> np.ndarray:
    """(batch, size, size, 1) float32 multiples of 1/255: smooth structure and noise in an ellipse, black outside."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    inside = (rows / 0.85) ** 2 + (columns / 0.65) ** 2 < 1
    smooth = ndimage.gaussian_filter(rng.standard_normal((batch, size, size)), (0, 5, 5))
    image = np.clip(0.45 + 2.5 * smooth + 0.03 * rng.standard_normal(smooth.shape), 0, 1) * inside
    return (np.round(255 * image) / 255).astype(np.float32)[..., None]


def median_seconds(call: Callable[[], Any], repeats: int) -> float:
    """The median time of `repeats` calls."""
    return statistics.median(_seconds(call) for _ in range(repeats))


def interleaved(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each call; each round times every call once, after some that are not counted."""
    return {name: statistics.median(of_call) for name, of_call in rounds(calls, repeats).items()}


def rounds(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, as `interleaved` times them: ratios within a round outlive a busy machine."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            time.sleep(PAUSE)
            settled = time.perf_counter() + SETTLE
            while time.perf_counter() < settled:
                call()
            times[name].append(_seconds(call))
    return times


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def others_seconds() -> float:
    """Processor seconds that all but this process took since the system started, stolen ones included (Linux)."""
    fields = [int(word) for word in pathlib.Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = sum(fields[3:5])
    return (sum(fields) - idle) / os.sysconf("SC_CLK_TCK") - time.process_time()


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Says at the end how much of the cores others took meanwhile: above a few percent the times are not ours alone."""
    start, others = time.perf_counter(), others_seconds()
    yield
    share = (others_seconds() - others) / (time.perf_counter() - start) / len(os.sched_getaffinity(0))
    print(f"(other processes took {max(share, 0):.0%} of the cores meanwhile)\n", flush=True)


def reset_peak() -> None:
    """Forgets the peak of this process's memory so far (Linux)."""
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def resident_mb(*, peak: bool = False) -> float:
    """This process's memory, now or at its peak, in MB (Linux)."""
    key = "VmHWM" if peak else "VmRSS"
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def child(*arguments: str) -> str:
    """The last line that this script prints when run again with other arguments, in a process of its own."""
    done = subprocess.run([sys.executable, sys.argv[0], *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout.strip().splitlines()[-1]


def print_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A Markdown table, row by row as they come."""
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads), flush=True)
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |", flush=True)
