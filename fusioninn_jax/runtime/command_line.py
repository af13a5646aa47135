"""Flags of the entry points that take --config and --workdir."""

from __future__ import annotations

import ast
import importlib.util
import pathlib
import re
import sys
from collections.abc import Callable, Iterable, Sequence

import ml_collections
from absl import flags, logging
from ml_collections import config_flags

from fusioninn_jax.runtime import compilation_cache, processes
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.host_memory import keep_freed_memory
from fusioninn_jax.runtime.nearest import nearest

_PROGRAM_DOC = "python -m fusioninn_jax.train --config=phantom --workdir=runs/x [--config.key=value ...]"


A_GROUP = "this is a group of settings; give one of them, --config.GROUP.NAME=VALUE"
NO_PARTS = "a setting has no parts; give it as --config.GROUP.NAME=VALUE"
NO_SUCH = r"there is no setting \1; did you mean \2?"
PHRASES = {
    r"invalid literal for int\(\).*": "give a whole number",
    r"could not convert string to float.*": "give a number",
    r"\('Non-boolean argument to boolean flag'.*?\)": "give True or False",
    r"Failed to parse .* as a ConfigDict.*|Could not override field .*ConfigDict'>$": A_GROUP,
    r"^\w+ indices must be integers or slices, not str$|^'?Key .* is not a ConfigDict .*": NO_PARTS,
    r"^'(\w+)' Did you mean \"(\w+)\" instead of.*": NO_SUCH,
    r"^'?Key \"(\w+)\" does not exist.*Did you mean \"(\w+)\" instead of.*": NO_SUCH,
    r"^'?Key \"(\w+)\" does not exist.*": r"there is no setting \1",
}
HELP = ("-h", "-help", "--help", "--helpshort", "--helpfull")


def run_with_config(run: Callable[[ml_collections.ConfigDict, str], int], help_text: Callable[[], str]) -> None:
    """Parses the flags and calls `run(config, workdir)` for the exit code; a user's mistake is one line and code 2.

    Args:
      run: the command.
      help_text: what `--help` prints.
    """
    if set(HELP) & set(sys.argv[1:]):
        print(help_text())
        print(compilation_cache.HELP)
        sys.exit(0)
    config_flag = config_flags.DEFINE_config_file("config", None, "the configuration file", lock_config=True)
    workdir_flag = flags.DEFINE_string("workdir", None, "the folder that the run writes to, and resumes from")

    def main(arguments: Sequence[str]) -> int:
        keep_freed_memory()
        _parse([sys.argv[0], *_by_name(arguments)])
        if config_flag.value is None or workdir_flag.value is None:
            raise UserError(f"--config and --workdir are needed: {_PROGRAM_DOC}")
        file = config_flags.get_config_filename(flags.FLAGS["config"]).partition(":")[0]  # FILE:ARGUMENT
        if not pathlib.Path(file).is_file():
            raise UserError(_no_such_config(file))
        logging.set_verbosity(logging.ERROR)
        try:
            return run(config_flag.value, workdir_flag.value)
        except ValueError as error:  # the library's own word for a bad setting
            raise UserError(one_line(error)) from error

    processes.cli(main)


def config_file(given: str) -> str:
    """The file of a configuration: `given` is its path or, where there is no such file, its name, such as `brats`.

    Names are of the files in `configs/` of the working directory or, installed, of the distribution.
    """
    path, colon, argument = given.partition(":")
    if pathlib.Path(path).is_file() or "/" in path:
        return given
    name = path.removesuffix(".py") + ".py"
    for folder in _config_folders():
        if (folder / name).exists():
            return f"{folder / name}{colon}{argument}"
    return given


def _config_folders() -> list[pathlib.Path]:
    spec = importlib.util.find_spec("configs")
    return [pathlib.Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def config_names() -> list[str]:
    """Names that `config_file` knows."""
    return sorted({file.stem for folder in _config_folders() for file in folder.glob("*.py")} - {"__init__"})


def _by_name(arguments: Sequence[str]) -> list[str]:
    """The arguments with a configuration's file in place of its name: `--config=brats`, `--config brats`."""
    result = list(arguments)
    for i, argument in enumerate(result):
        flag, equals, value = argument.partition("=")
        if flag in ("--config", "-config") and equals:
            result[i] = f"{flag}={config_file(value)}"
        elif i and result[i - 1] in ("--config", "-config"):
            result[i] = config_file(argument)
    return result


def _no_such_config(file: str) -> str:
    close = nearest(pathlib.Path(file).stem, config_names())
    hint = f"did you mean {close}?" if close else f"choose one of {', '.join(config_names()) or 'those in configs/'}"
    return f"{file}: there is no such configuration file; {hint}"


def one_line(error: BaseException) -> str:
    """The message of `error` without line breaks, and without the quoting that a KeyError adds on its way."""
    text = str(error).replace("\\n", " ").replace("\\'", "'")
    return " ".join((text[1:-1] if text.startswith("''") else text).split())


def _in_words(error: BaseException) -> str:
    """What the libraries of flags and configurations say of a setting, in a user's words."""
    text = one_line(error)
    for said, meant in PHRASES.items():
        text = re.sub(said, meant, text)
    return text


def override(config: ml_collections.ConfigDict, overrides: Iterable[str]) -> None:
    """Applies `--config.KEY=VALUE`, as the trainer's command line does.

    Args:
      config: is changed.
      overrides: arguments of that form.

    Raises:
      UserError: an unknown setting, or a value of another kind.
    """
    config.lock()
    for argument in overrides:
        key, _, text = argument.removeprefix("--config.").partition("=")
        group = key.partition(".")[0]
        if group not in config:
            close = nearest(group, list(config))
            raise UserError(f"{argument}: there is no setting {group}" + (f"; did you mean {close}?" if close else ""))
        try:
            value = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        try:
            config.update_from_flattened_dict({key: value})
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{argument}: {_in_words(error)}") from error


def _parse(arguments: list[str]) -> None:
    """Parses absl flags.

    Raises:
      UserError: an unknown flag or key, a value of the wrong type, a configuration file that cannot be read.
    """
    try:
        rest = flags.FLAGS(arguments)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise UserError(f"{_in_words(error)}; usage: {_PROGRAM_DOC}") from error
    if len(rest) > 1:
        raise UserError(f"{rest[1]}: not a flag; usage: {_PROGRAM_DOC}")
