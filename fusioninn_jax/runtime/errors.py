"""The one exception that a user's mistake raises, and the wrapper that prints it."""

import argparse
import errno
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from fusioninn_jax.runtime import interrupts

OF_PATHS = (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.EROFS, errno.ENOSPC)


class UserError(Exception):
    """Bad input, said in one line: the file or key, what is wrong, how to mend it."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without a full stop; its type where it has none.

    Args:
      error: that was raised; its message may have many lines or none.
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class Help(argparse.RawDescriptionHelpFormatter):
    """Help in which every option that has a default tells it; texts that speak of it themselves are left alone."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        silent = default is None or default is False or default == argparse.SUPPRESS or not action.option_strings
        if silent or "default" in text or action.nargs == 0:
            return text
        shown = ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        return f"{text}; default: {shown or 'none'}" if text else f"default: {shown}"


class Parser(argparse.ArgumentParser):
    """An argument parser that tells its defaults, ends its help with examples, and says what is wrong in one line.

    Args:
      examples: whole commands, a line each.
      options: as of argparse's own; an epilog follows the examples.
    """

    def __init__(self, *, examples: str = "", **options: Any) -> None:
        options.setdefault("formatter_class", Help)
        lines = [f"  {line.strip()}" for line in examples.strip().splitlines()]
        shown = ["\n".join(["examples:", *lines])] if lines else []
        options["epilog"] = "\n\n".join([*shown, *filter(None, [options.get("epilog")])]) or None
        super().__init__(**options)

    def error(self, message: str) -> NoReturn:
        """Raises UserError with `message` instead of printing the usage and exiting."""
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
    except OSError as error:  # of a path that was given; whatever reads or writes has said more already
        if error.errno not in OF_PATHS or error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}; choose another path", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, interrupts.Stopped) else signal.SIGINT
        print(f"error: stopped by {signal.Signals(number).name}; nothing half-written is left", file=sys.stderr)
        sys.exit(interrupts.exit_code(number))
    sys.exit(code or 0)
