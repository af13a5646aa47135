"""Bars of long work: what is done, how fast, and when it will be over; on stderr, of the first process alone."""

from __future__ import annotations

import sys
from typing import NoReturn

from tqdm import tqdm

from fusioninn_jax.runtime import processes

BRIEF_SECONDS = 3.0  # after which the bar of short work is shown
LOG_SECONDS = 10.0  # between two lines where stderr is a file


def bar(total: int, what: str, unit: str, *, initial: int = 0, brief: bool = False) -> tqdm[NoReturn]:
    """A bar over `total` units of work; a file gets a line every ten seconds instead of ten a second.

    Args:
      total: units of work.
      what: is done, in a word or two: stands in front of the bar.
      unit: of the work, e.g. "slices".
      initial: units done already.
      brief: the work is often short: the bar is seen after some seconds, and gone at its end.
    """
    return tqdm(
        total=total,
        desc=what,
        unit=f" {unit}",
        initial=initial,
        leave=not brief,
        delay=BRIEF_SECONDS if brief else 0,
        dynamic_ncols=True,
        mininterval=0.1 if sys.stderr.isatty() else LOG_SECONDS,
        disable=not processes.is_first(),
    )
