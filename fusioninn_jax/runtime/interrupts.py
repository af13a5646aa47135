"""Ctrl-C and SIGTERM end every command alike: what is half-written is removed, one line, exit code 130 or 143.

Training is the exception: it saves first (`processes.Stop`). Nothing here acts on import alone: handlers are set by
the commands, and by `guard_start` where Python was started as one of them.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
PATIENCE = 2.0  # seconds in which a second signal does not disturb the cleaning up after the first


class Stopped(KeyboardInterrupt):
    """A signal asked to stop; a KeyboardInterrupt, so that libraries clean up as they do for Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def exit_code(number: int) -> int:
    """As shells name the end by the signal of that `number`: 130 for SIGINT, 143 for SIGTERM."""
    return 128 + number


def can_handle() -> bool:
    """Whether this thread may set signal handlers."""
    return threading.current_thread() is threading.main_thread()


def in_notebook() -> bool:
    """Whether IPython runs, which has its own way to interrupt a cell."""
    return "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Within the block the signals raise `Stopped`; one that the process was started to ignore stays ignored."""
    if not can_handle():
        yield
        return
    last = -PATIENCE

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if time.monotonic() - last >= PATIENCE:
            last = time.monotonic()
            raise Stopped(number)

    previous = {number: signal.getsignal(number) for number in SIGNALS}
    for number, before in previous.items():
        if before is not signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, before in previous.items():
            if before is not None:
                signal.signal(number, before)


def guard_start(packages: Sequence[str], script: str) -> None:
    """Ends a command that is stopped while its imports run, in one line; nothing is written yet then.

    Args:
      packages: does nothing where Python was started neither as `python -m PACKAGE...` with one of them,
      script: nor by the console script of this name.
    """
    module = sys.orig_argv[sys.orig_argv.index("-m") + 1 :][:1] if "-m" in sys.orig_argv else []
    of_package = bool(module) and module[0].partition(".")[0] in packages
    by_script = pathlib.PurePath(sys.orig_argv[1] if len(sys.orig_argv) > 1 else "").stem == script
    if not (of_package or by_script) or not can_handle():
        return

    def end(number: int, frame: FrameType | None) -> None:
        os.write(2, f"error: stopped by {signal.Signals(number).name} while starting\n".encode())
        os._exit(exit_code(number))

    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, end)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """SIGINT and SIGTERM wait until the block ends; for blocks of milliseconds.

    Python runs the handlers in the main thread, so elsewhere there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before: dict[signal.Signals, Any] = {}
    try:
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if handler is not None:  # one that Python did not install cannot be given back
                before[number] = handler
                signal.signal(number, lambda received, frame: caught.append(received))
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for received in caught:
            signal.raise_signal(received)
