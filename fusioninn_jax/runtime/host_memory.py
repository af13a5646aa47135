"""Memory of the CPU backend between two calls."""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # malloc.h


def keep_freed_memory() -> bool:
    """Tells the C library to keep what this process frees instead of giving it back to the system.

    XLA's CPU backend allocates a step's temporary buffers anew at every call. glibc maps blocks of that size from the
    system and unmaps them again, and the system zeroes every page of them in each step: a fifth of the time of a batch
    of 8 whole slices. Kept, the process holds on to its peak.

    Returns:
      whether the C library took it; other systems than Linux with glibc don't, and run as before.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    # one arena: those of other threads give back whole heaps whatever the threshold
    return bool(mallopt(M_ARENA_MAX, 1) and mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
