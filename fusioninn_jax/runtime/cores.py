"""How many threads are worth starting: the one rule for every pool."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor


def usable() -> int:
    """Cores that this process may run on: a container, a Slurm step or `taskset` may leave it fewer than there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def pool(most: int | None = None) -> ThreadPoolExecutor:
    """Threads for work that leaves Python's lock to others, one a usable core.

    Args:
      most: threads, where more would only take memory; None: no bound.
    """
    return ThreadPoolExecutor(usable() if most is None else min(most, usable()))
