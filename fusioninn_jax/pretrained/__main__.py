"""`python -m fusioninn_jax.pretrained --workdir=runs/x --out=FOLDER`: a training's model as two plain files.

Its calibration, where `python -m fusioninn_jax.scoring.uncertainty` made one, goes with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import numpy as np
from etils import epath

from fusioninn_jax import pretrained
from fusioninn_jax.runtime.errors import Parser, cli
from fusioninn_jax.trained_model import calibration
from fusioninn_jax.training import checkpoint

EXAMPLES = """
python -m fusioninn_jax.pretrained --workdir=runs/brats --out=model
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parses `argv` (None: the command line) and writes the files; returns the exit code."""
    parser = Parser(prog="python -m fusioninn_jax.pretrained", description=__doc__, examples=EXAMPLES)
    parser.add_argument("--workdir", required=True, help="of a training")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best", help="which of the training")
    parser.add_argument("--modalities", nargs="+", default=[], help="what the sources were, in order; default: unnamed")
    parser.add_argument("--half", action="store_true", help="round the weights to half precision: half the bytes")
    parser.add_argument("--out", required=True, help="the folder of the two files")
    args = parser.parse_args(argv)
    trained = checkpoint.load(args.workdir, args.checkpoint)
    if args.modalities and trained.model.sources not in (None, len(args.modalities)):
        parser.error(
            f"--modalities: the model of {args.workdir} fuses {trained.model.sources} series, "
            f"{len(args.modalities)} are named ({', '.join(args.modalities)}); name each"
        )
    described = pretrained.describe(trained.config, tuple(args.modalities))
    variables = pretrained.halved(trained.variables) if args.half else trained.variables
    pretrained.save(args.out, jax.tree.map(np.asarray, variables), described)
    size = sum((epath.Path(args.out) / name).stat().length for name in (pretrained.WEIGHTS, pretrained.CONFIG))
    name = pretrained.fingerprint(trained.variables, described)
    found = calibration.load(args.workdir, name)
    if found is not None:
        name = pretrained.fingerprint(variables, described)
        print(f"written: {calibration.save(args.out, found, name)}")
    print(
        f"written: {args.out}/{pretrained.WEIGHTS} and {pretrained.CONFIG}, {size / 1000:.0f} kB, "
        f"of step {trained.step}"
    )
    return 0


if __name__ == "__main__":
    cli(main)
