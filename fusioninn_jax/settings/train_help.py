"""What `train --help` prints: usage, flags, every setting with its default and its meaning, examples."""

from __future__ import annotations

import shutil
import textwrap

from fusioninn_jax import settings

USAGE = "python -m fusioninn_jax.train --config=NAME_OR_FILE --workdir=FOLDER [--config.SETTING=VALUE ...]"
FLAGS = (
    (
        "--config",
        "a configuration of this project by its name (brats, paper, phantom, demo, ...) or a file's path; "
        "NAME:ARGUMENT hands it an argument",
    ),
    ("--workdir", "the folder that the run writes to; the same command again resumes there"),
    (
        "--coordinator_address, --num_processes, --process_id",
        "of training on several machines (docs/SCALING.md); TPU pods and Slurm need none of them",
    ),
    ("--preempt_ok", "exit code 0 also where SIGTERM or Ctrl-C ended the run, after saving (for schedulers)"),
    ("-h, --help", "this text"),
)
EXAMPLES = """\
  python -m fusioninn_jax.train --config=phantom --workdir=runs/phantom
  python -m fusioninn_jax.train --config=brats --workdir=runs/brats --config.data.dataset=brats/t1gd_flair \\
      --config.train.steps=5000 --config.data.crop=64,64
  python -m fusioninn_jax.evaluate --workdir=runs/brats --split=test"""
COLUMN = 46  # where meanings begin


def text(width: int | None = None) -> str:
    """The help, `width` columns wide; None: as wide as the terminal, at most 120."""
    width = width or min(shutil.get_terminal_size((100, 24)).columns, 120)
    lines = [
        f"usage: {USAGE}",
        "",
        "Trains a fusion system, scores it on the validation split as it goes, and keeps its checkpoints.",
        "",
        "flags:",
    ]
    for name, meaning in FLAGS:
        lines += _entry(name, meaning, width)
    lines += [
        "",
        "settings (--config.SETTING=VALUE), with their defaults; a configuration may have others. Tuples are written",
        "without spaces, 64,64; true and false as they are:",
    ]
    part = ""
    for setting in settings.described():
        here = setting.name.rpartition(".")[0]
        if here != part:
            lines.append("")
        part = here
        lines += _entry(f"{setting.name}={_shown(setting.default)}", setting.meaning, width)
    return "\n".join([*lines, "", "examples:", EXAMPLES, ""])


def _shown(value: settings.Value) -> str:
    """A default as it is typed."""
    if isinstance(value, tuple):
        return ",".join(map(str, value)) if value else "()"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) or "''"


def _entry(name: str, meaning: str, width: int) -> list[str]:
    first = f"  {name:<{COLUMN - 2}}"
    body = textwrap.wrap(meaning, max(width - COLUMN, 30))
    if len(first) > COLUMN:
        return [first.rstrip(), *(" " * COLUMN + line for line in body)]
    return [first + body[0], *(" " * COLUMN + line for line in body[1:])]
