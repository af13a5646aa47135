"""Devices, in words for people."""

from __future__ import annotations

from collections.abc import Sequence

import jax

from fusioninn_jax.runtime import cores
from fusioninn_jax.runtime.words import counted


def described(devices: Sequence[jax.Device]) -> str:
    """How many devices of what kind; of CPUs how many cores work for them.

    Args:
      devices: one at least.
    """
    kinds = sorted(
        {
            f"{device.platform.upper()} ({device.device_kind})" if device.platform != "cpu" else "CPU"
            for device in devices
        }
    )
    with_cores = f" with {counted(cores.usable(), 'core')}" if kinds == ["CPU"] else ""
    return f"{counted(len(devices), 'device')}: {', '.join(kinds)}{with_cores}"
