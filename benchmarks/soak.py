"""Memory, open files and step time over a long training: `python benchmarks/soak.py`.

A tiny training with evaluations and checkpoints runs in a process of its own and is looked at from outside (Linux).
Prints a Markdown table by quarters of the run, and the slopes after the first quarter, in which caches fill; exits 1
where memory, files or step time grow.
"""

import argparse
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import numpy as np

from benchmarks import timing
from fusioninn_jax.training.train_log import TRAIN_FILE, read_lines
from tests import many_processes, training_case

QUARTERS = 4
MOST_MB, MOST_FILES, MOST_TIME = 2.0, 0.5, 1.1  # growth in 1000 steps; time of the last quarter over the second


def look(process):
    """(MB resident, open files) of a process; None once it has gone."""
    folder = pathlib.Path(f"/proc/{process.pid}")
    try:
        status = (folder / "status").read_text()
        files = len(list((folder / "fd").iterdir()))
    except OSError:
        return None
    lines = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return (int(lines[0].split()[1]) / 1024, files) if lines else None


def watch(process, workdir, interval):
    """[(step, MB, files)] every `interval` seconds until the process ends."""
    seen = []
    while process.poll() is None:
        now, path = look(process), workdir / TRAIN_FILE
        steps = path.read_bytes().count(b"\n") if path.exists() else 0
        if now and steps:
            seen.append((steps, *now))
        time.sleep(interval)
    return np.array(seen, float)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--every", type=int, default=50, help="steps between evaluations with a checkpoint")
    parser.add_argument("--interval", type=float, default=0.5, help="seconds between looks")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        data_dir = training_case.prepare(folder / "data")
        workdir = folder / "run"
        running = many_processes.train(
            workdir, data_dir, 1, 1, f"--config.train.steps={args.steps}", f"--config.train.eval_every={args.every}"
        )
        seen = watch(running[0], workdir, args.interval)
        ((code, said),) = many_processes.end(running)
        if code:
            raise SystemExit(f"the training failed:\n{said[-2000:]}")
        seconds = np.array([record["seconds"] for record in read_lines(workdir / TRAIN_FILE)])
    return report(args, seen, seconds)


def report(args, seen, seconds):
    """Prints the table; returns the exit code."""
    bounds = np.linspace(0, args.steps, QUARTERS + 1)
    rows, medians = [], []
    for low, high in zip(bounds[:-1], bounds[1:], strict=True):
        of = seen[(seen[:, 0] > low) & (seen[:, 0] <= high)]
        medians.append(np.median(seconds[int(low) : int(high)]))
        rows.append(
            [
                f"{low:.0f}-{high:.0f}",
                f"{of[:, 1].mean():.1f}",
                f"{of[:, 1].max():.1f}",
                f"{of[:, 2].mean():.1f}",
                f"{of[:, 2].max():.0f}",
                f"{1e3 * medians[-1]:.2f}",
            ]
        )
    timing.print_table(["steps", "MB resident, mean", "most", "open files, mean", "most", "ms a step, median"], rows)
    later = seen[seen[:, 0] > bounds[1]]
    megabytes, files = (1000 * np.polyfit(later[:, 0], later[:, column], 1)[0] for column in (1, 2))
    print(
        f"\nafter step {bounds[1]:.0f}, in 1000 steps: {megabytes:+.2f} MB, {files:+.2f} open files; step time of "
        f"the last quarter over the second: {medians[-1] / medians[1]:.2f}"
    )
    return int(megabytes > MOST_MB or files > MOST_FILES or medians[-1] / medians[1] > MOST_TIME)


if __name__ == "__main__":
    sys.exit(main())
