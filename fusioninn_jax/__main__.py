"""The list of commands, and one word for all: `fusioninn fuse ...` is `python -m fusioninn_jax.fuse ...`."""

from __future__ import annotations

import runpy
import sys

from fusioninn_jax.runtime.nearest import nearest

COMMANDS = {  # name: (module, one line)
    "prepare": ("data.prepare", "NIfTI studies, image pairs or simulated patients become a dataset"),
    "train": ("fusioninn_jax.train", "train a fusion system; the same command again resumes"),
    "evaluate": ("fusioninn_jax.evaluate", "score a trained system, others, or images fused elsewhere"),
    "fuse": ("fusioninn_jax.fuse", "fuse the series of a study, or whole folders of studies"),
    "decompose": ("fusioninn_jax.decompose", "get the series back from a fused image"),
    "report": ("fusioninn_jax.report", "pages to look at: a training (run), a study (study); the paper's tables"),
    "pretrained": ("fusioninn_jax.pretrained", "write a trained model as two plain files"),
    "doctor": ("fusioninn_jax.doctor", "what is installed, and whether it works"),
}


def listing() -> str:
    """The commands with one line each."""
    lines = [f"  {name:<12}{meaning}" for name, (_, meaning) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: fusioninn COMMAND ...   (or python -m fusioninn_jax COMMAND ...)",
            "",
            "commands:",
            *lines,
            "",
            "`fusioninn COMMAND --help` tells the flags of one, with examples.",
        ]
    )


def main() -> None:
    """Runs the command that the first argument names, or lists the commands."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(listing())
        return
    if name not in COMMANDS:
        close = nearest(name, COMMANDS)
        hint = f"did you mean {close}?" if close else f"one of {', '.join(COMMANDS)}"
        print(f"error: {name}: there is no such command; {hint}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [f"fusioninn {name}", *rest]
    runpy.run_module(COMMANDS[name][0], run_name="__main__", alter_sys=False)


if __name__ == "__main__":
    main()
