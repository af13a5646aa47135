"""The loss curve of one training as 1 process x 4 devices, 2 x 2 and 4 x 1: `python benchmarks/process_counts.py`.

Prints a Markdown table of the largest relative difference from the curve of one process, and exits 1 where it is above
1e-5. Everything runs on this machine, on simulated devices and the tiny dataset of the tests, with the default rate,
the latent loss made of sums, and dither in place of rounding to 8 bits, which is discontinuous and makes differences of
float32 grow.
"""

import argparse
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import numpy as np

from benchmarks import timing
from fusioninn_jax.training.train_log import METRICS_FILE, read_lines
from tests import many_processes, training_case

LAYOUTS = ((1, 4), (2, 2), (4, 1))
TOLERANCE = 1e-5
CONTINUOUS = ("--config.losses.storage.kind=dither", "--config.losses.latent=characteristic")
DEADLINE = 1200  # seconds for a run


def curves(folder, data_dir, layout, args):
    """(training losses, validation losses) by step."""
    workdir = folder / "x".join(map(str, layout))
    # an evaluation batch that the five validation images fill: in a filled-up one the copies lie at distance 0 up to
    # rounding, which the narrow kernels of the paper's MMD see
    settings = [
        f"--config.train.steps={args.steps}",
        f"--config.train.eval_every={args.steps // 4}",
        "--config.train.eval_batch_size=4",
    ]
    running = many_processes.train(workdir, data_dir, *layout, *settings, *CONTINUOUS, *args.setting)
    ended = many_processes.end(running, DEADLINE)
    if any(code for code, _ in ended):
        raise SystemExit(f"{layout}: {ended}")
    evaluations = [record["loss"] for record in read_lines(workdir / METRICS_FILE)]
    return np.array([loss for _, loss in many_processes.losses(workdir)]), np.array(evaluations)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("setting", nargs="*", help="more settings after --, e.g. --config.losses.latent=white")
    args = parser.parse_args()
    worst, rows = 0.0, []
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data_dir = training_case.prepare(folder / "data")
        expected = curves(folder, data_dir, LAYOUTS[0], args)
        for layout in LAYOUTS[1:]:
            found = curves(folder, data_dir, layout, args)
            differences = [np.max(np.abs(a - b) / np.abs(b)) for a, b in zip(found, expected, strict=True)]
            worst = max(worst, *differences)
            rows.append([" x ".join(map(str, layout)), len(found[0]), *(f"{value:.1e}" for value in differences)])
    timing.print_table(["processes x devices", "steps", "training loss, from 1 x 4", "validation loss"], rows)
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
