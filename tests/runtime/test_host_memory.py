"""Freed memory stays with the process: the second use of as much costs no page faults."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from fusioninn_jax.runtime.host_memory import keep_freed_memory
if {keep} and not keep_freed_memory():
    print("none")
else:
    faults = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(16 * 2**20, np.float32)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    print(faults[-1])
"""


def faults(keep):
    out = subprocess.run([sys.executable, "-c", PROGRAM.format(keep=keep)], capture_output=True, text=True, check=True)
    return out.stdout.strip()


def test_freed_memory_is_kept():
    kept = faults(True)
    if kept == "none":
        pytest.skip("no glibc here")
    assert int(kept) < 100 < int(faults(False))
