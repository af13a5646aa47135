"""What both sides of gpu.py measure, and how they time it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

SECONDS = 0.25  # of each of the two timings


class Case(NamedTuple):
    """A kind of call and the batch that it gets."""

    kind: str
    batch: int
    size: int

    def __str__(self) -> str:
        return f"{self.kind}, batch {self.batch}, {self.size}x{self.size}"


CASES = (
    Case("step", 8, 240),
    Case("fuse", 8, 240),
    Case("decompose", 8, 240),
    Case("step", 64, 64),
    Case("step", 8, 64),
    Case("fuse", 64, 240),
    Case("decompose", 64, 240),
)
TINY = (Case("step", 2, 32), Case("fuse", 2, 32), Case("decompose", 2, 32))


def one_line(error: BaseException) -> str:
    """An error, short."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def timed(call: Callable[[], Any], wait: Callable[[Any], Any]) -> tuple[float, float]:
    """Seconds of a call awaited at once (the median), and of one of many that are queued (the mean)."""
    for _ in range(3):
        wait(call())
    alone = []
    while len(alone) < 10 or (sum(alone) < SECONDS and len(alone) < 300):
        start = time.perf_counter()
        wait(call())
        alone.append(time.perf_counter() - start)
    median = statistics.median(alone)
    count = max(5, min(300, int(SECONDS / median)))
    start = time.perf_counter()
    for _ in range(count):
        last = call()
    wait(last)
    return median, (time.perf_counter() - start) / count
