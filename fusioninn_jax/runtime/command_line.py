"""Flags of the entry points that take --config and --workdir."""
from __future__ import annotations

import pathlib
import sys
from collections.abc import Callable, Sequence

import ml_collections
from absl import flags, logging
from ml_collections import config_flags

from fusioninn_jax.runtime import processes
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.host_memory import keep_freed_memory

_PROGRAM_DOC = "python -m fusioninn_jax.train --config=configs/phantom.py --workdir=runs/x [--config.key=value ...]"


def run_with_config(run: Callable[[ml_collections.ConfigDict, str], int]) -> None:
    """Parses the flags and calls `run(config, workdir)` for the exit code.

    A user's mistake becomes one line and exit code 2.
    """
    config_flag = config_flags.DEFINE_config_file("config", None, "the configuration file", lock_config=True)
    workdir_flag = flags.DEFINE_string("workdir", None, "the folder that the run writes to, and resumes from")

    def main(arguments: Sequence[str]) -> int:
        keep_freed_memory()
        _parse([sys.argv[0], *arguments])
        if config_flag.value is None or workdir_flag.value is None:
            raise UserError(f"--config and --workdir are needed: {_PROGRAM_DOC}")
        file = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")[0]  # FILE:ARGUMENT
        if not pathlib.Path(file).exists():
            raise UserError(f"{file}: there is no such configuration file; choose one of those in configs/")
        logging.set_verbosity(logging.ERROR)
        try:
            return run(config_flag.value, workdir_flag.value)
        except ValueError as error:  # the library's own word for a bad setting
            raise UserError(one_line(error)) from error

    processes.cli(main)


def one_line(error: BaseException) -> str:
    """An error's message without line breaks, and without the quoting that a KeyError adds on its way."""
    text = str(error).replace("\\n", " ").replace("\\'", "'")
    return " ".join((text[1:-1] if text.startswith("''") else text).split())


def _parse(arguments: list[str]) -> None:
    """Parses absl flags.

    Raises:
      UserError: an unknown flag or key, a value of the wrong type, a configuration file that cannot be read.
    """
    try:
        rest = flags.FLAGS(arguments)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{one_line(error)}; usage: {_PROGRAM_DOC}") from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]}: not a flag; usage: {_PROGRAM_DOC}")
