"""The one exception that a user's mistake raises, and the wrapper that prints it."""

import argparse
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from fusioninn_jax.runtime import interrupts


class UserError(Exception):
    """Bad input, said in one line: the file or key, what is wrong, how to mend it."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a full stop; its type where it has none.

    Args:
      error: that was raised; its message may have many lines or none.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError instead of printing the usage and exiting."""
        raise UserError(f"{message}; see {self.prog} --help")


def cli(main: Callable[[], int | None]) -> None:
    """Runs an entry point; a `UserError` becomes one line on stderr and exit code 2, without a traceback.

    So does Ctrl-C, with exit code 130, and SIGTERM, with 143; what is half-written is removed on the way.

    Args:
      main: takes no arguments; returns the exit code, None standing for 0.
    """
    try:
        with interrupts.raised():
            code = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, interrupts.Stopped) else signal.SIGINT
        print(f"error: stopped by {signal.Signals(number).name}; nothing half-written is left", file=sys.stderr)
        sys.exit(interrupts.exit_code(number))
    sys.exit(code or 0)
