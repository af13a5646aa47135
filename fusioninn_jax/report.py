"""Reports to look at.

`python -m fusioninn_jax.report run --workdir=runs/x` writes runs/x/report.html, a self-contained page: curves of the
training, a panel of images with error maps, and a table of scores. `table1`, `table2`, `sweep` and `figures` are the
paper's tables and figures, from runs that they train where they are missing; `--config.KEY=VALUE` changes a setting of
all those runs. `study T1GD FLAIR -o study.html` shows one study (`studies.study_page`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import matplotlib
from etils import epath

matplotlib.use("Agg")  # files only, no window

from fusioninn_jax.runtime import compilation_cache, places  # noqa: E402
from fusioninn_jax.runtime.errors import Parser, UserError, cli  # noqa: E402
from fusioninn_jax.studies import study_page  # noqa: E402

OVERRIDE = "--config."  # as for the trainer

EXAMPLES = """
python -m fusioninn_jax.report run --workdir=runs/demo
python -m fusioninn_jax.report study t1gd.nii.gz flair.nii.gz --mask seg.nii.gz --labels T1-Gd T2-FLAIR -o study.html
python -m fusioninn_jax.report table2 --root=runs/table2 --config.train.steps=500
python -m fusioninn_jax.report study --help
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line and writes the report; returns the exit code.

    Args:
      argv: the arguments; None for those of the process.
    """
    parser = Parser(
        prog="python -m fusioninn_jax.report", description=__doc__, examples=EXAMPLES, epilog=compilation_cache.HELP
    )
    commands = parser.add_subparsers(dest="command", required=True)
    run = _part(commands, "run", "one training: curves, images, scores")
    run.add_argument("--workdir", required=True, help="of a training that was evaluated")
    run.add_argument("--split", help="an evaluated split; default: test, else the one that there is")
    run.add_argument("--slices", type=int, default=4, help="slices in the panel, half of them the worst")
    study = _part(commands, "study", "one study: sources, fused, decomposed, errors, scores")
    study_page.add_arguments(study)
    add_paper_commands(commands)
    argv = sys.argv[1:] if argv is None else argv
    overrides = [argument for argument in argv if argument.startswith(OVERRIDE)]
    args = parser.parse_args([argument for argument in argv if not argument.startswith(OVERRIDE)])
    if args.command == "run":
        if overrides:
            raise UserError(f"{overrides[0]}: run takes no --config, what it reports is trained already")
        from fusioninn_jax.tables import run_page

        workdir = places.folder(args.workdir, "--workdir")
        split = run_page.evaluated_split(workdir, args.split)
        print(f"the split {split} of {args.workdir}")
        path = run_page.write_run_report(workdir, split, args.slices)
    else:
        path = args.run(args, overrides)
    print(f"written: {path}{f', {epath.Path(path).stat().length / 1e6:.1f} MB' if path.is_file() else ''}")
    return 0


PART_EXAMPLES = {
    "run": "run --workdir=runs/demo --slices=6",
    "study": "study t1gd.nii.gz flair.nii.gz --mask seg.nii.gz --labels T1-Gd T2-FLAIR -o study.html",
    "table1": "table1 --workdirs runs/fusioninn runs/unet --split=test",
    "table2": "table2 --root=runs/table2 --config.train.steps=500",
    "sweep": "sweep --sweep=configs/sweeps/ablation.py --limit=50",
    "figures": "figures --workdirs runs/fusioninn runs/unet --patients=3",
}


def _part(commands: Any, name: str, text: str) -> Parser:
    """The parser of one part, with its example."""
    example = f"python -m fusioninn_jax.report {PART_EXAMPLES[name]}"
    return commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", examples=example)


def add_paper_commands(commands: Any) -> None:
    """Adds the paper's tables and figures to the subcommands.

    Args:
      commands: from `add_subparsers`.
    """
    from fusioninn_jax.tables import figures, sweep, table1

    for name, text, module, options in (
        ("table1", "every system beside the paper's Table 1", table1, {}),
        ("table2", "the ablations beside the paper's Table 2", sweep, {"default": "configs/sweeps/table2.py"}),
        ("sweep", "the table of any sweep", sweep, {}),
        ("figures", "Figures 3, 4 and 5 of the paper", figures, {}),
    ):
        command = _part(commands, name, text)
        module.add_arguments(command, **options)


if __name__ == "__main__":
    compilation_cache.keep_compiled_programs()
    cli(main)
