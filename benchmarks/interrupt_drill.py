"""Kills `fuse`, `decompose` of a lossless archive, and `data.prepare` at random moments:
`python benchmarks/interrupt_drill.py --stops 20`.

Each command is stopped so often by SIGKILL and so often by SIGINT, half of the moments within its whole run, half while
its results are written. After each stop an output must be whole or absent; after SIGINT nothing else may be left; after
the SIGKILLs the next run must remove what they left. Prints a Markdown table; exits 1 where something was left or torn.
Every run is a process of its own, forked from this one, which has imported everything but has not started JAX.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import numpy as np
from PIL import Image

from data import prepare
from fusioninn_jax import decompose, fuse
from fusioninn_jax.runtime.errors import cli
from tests.studies import cases

FORK = multiprocessing.get_context("fork")
DEADLINE = 600  # seconds for any run
SIGNALS = (signal.SIGKILL, signal.SIGINT)
SIZE = (96, 96, 24)


@dataclasses.dataclass(frozen=True)
class Command:
    """A command, the folder that it writes into, and the results there that must be whole or absent."""

    name: str
    run: Callable[[], int]
    folder: pathlib.Path
    results: tuple[str, ...]


def commands(root: pathlib.Path) -> list[Command]:
    """The three commands on small synthetic inputs below `root`."""
    model = str(root / "model")
    pair = [str(cases.save(root / f"{i}.nii.gz", cases.voxels(i, SIZE))) for i in (1, 2)]
    for name in ("a", "b"):
        (root / name).mkdir()
        for i in range(12):
            noise = np.random.default_rng(i).integers(0, 255, (64, 64), dtype=np.uint8)
            Image.fromarray(noise).save(root / name / f"{i}.png")
    folders = [root / name for name in ("fused", "decomposed", "prepared")]
    for folder in folders:
        folder.mkdir()
    archive = str(root / "archive.nii.gz")
    run(lambda: cases.save_model(root / "model") and 0, root / "said.txt")  # in a child: JAX must not start here
    run(lambda: fuse.main([*pair, "-o", archive, "--lossless", "--checkpoint", model]), root / "said.txt")
    return [
        Command(
            "fuse",
            lambda: fuse.main(
                [
                    *pair,
                    "-o",
                    str(folders[0] / "f.nii.gz"),
                    "--latent",
                    str(folders[0] / "z.nii.gz"),
                    "--checkpoint",
                    model,
                ]
            ),
            folders[0],
            ("f.nii.gz", "z.nii.gz"),
        ),
        Command(
            "decompose --lossless",
            lambda: decompose.main([archive, "-o", *[str(folders[1] / f"{i}.nii.gz") for i in (1, 2)]]),
            folders[1],
            ("1.nii.gz", "2.nii.gz"),
        ),
        Command(
            "data.prepare",
            lambda: prepare.main(
                [
                    "image_pairs",
                    f"--source={root / 'a'}",
                    f"--source={root / 'b'}",
                    f"--data_dir={folders[2]}",
                    "--name=x",
                ]
            ),
            folders[2],
            ("image_pairs/x/1.0.0",),
        ),
    ]


def run(
    command: Callable[[], int], said: pathlib.Path, stop: Callable[[multiprocessing.Process], None] | None = None
) -> int | None:
    """Runs a command in a child; returns its exit code."""

    def work() -> None:
        with said.open("a") as file, contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            os.dup2(file.fileno(), 2)
            cli(command)

    process = FORK.Process(target=work)
    process.start()
    if stop:
        stop(process)  # type: ignore[arg-type]
    process.join(DEADLINE)
    if process.is_alive():
        process.kill()
        raise SystemExit("a run took too long")
    return process.exitcode


def contents(command: Command) -> dict[str, str | None]:
    """A hash of each result, None where it is absent; of a folder, of the names in it and the sizes."""

    def digest(path: pathlib.Path) -> str | None:
        if path.is_dir():
            return str(sorted((str(file.relative_to(path)), file.stat().st_size) for file in path.rglob("*.tfrecord*")))
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else None

    return {name: digest(command.folder / name) for name in command.results}


def left(command: Command) -> list[str]:
    """What lies in the folder beside the results, what is in them, and the folders above them."""
    results = [command.folder / name for name in command.results]
    return sorted(
        str(path.relative_to(command.folder))
        for path in command.folder.rglob("*")
        if not any(path == result or result in path.parents or path in result.parents for result in results)
    )


def clear(command: Command) -> None:
    """Removes the results, and them alone."""
    for name in command.results:
        path = command.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def stopper(
    number: int, delay: float, command: Command, while_writing: bool
) -> Callable[[multiprocessing.Process], None]:
    """Sends the signal after a delay, from the start or from the moment when something appears in the folder."""

    def stop(process: multiprocessing.Process) -> None:
        deadline = time.monotonic() + DEADLINE
        while while_writing and process.is_alive() and not any(command.folder.rglob("*")):
            if time.monotonic() > deadline:
                return
            time.sleep(0.0005)
        time.sleep(delay)
        if process.is_alive() and process.pid:
            os.kill(process.pid, number)

    return stop


def drill(command: Command, stops: int, rng: np.random.Generator, said: pathlib.Path) -> list[str]:
    """The rows of a command, one a signal; raises SystemExit where something is torn or left."""
    start = time.monotonic()
    if run(command.run, said) != 0:
        raise SystemExit(f"{command.name}: the undisturbed run failed:\n{said.read_text()[-2000:]}")
    whole, length, rows = contents(command), time.monotonic() - start, []
    for number in SIGNALS:
        counts = {"absent": 0, "whole": 0, "torn": 0, "left": 0}
        for i in range(stops):
            clear(command)
            while_writing = i % 2 == 1
            delay = rng.uniform(0, 0.3 if while_writing else length)
            run(command.run, said, stopper(number, delay, command, while_writing))
            now = contents(command)
            kind = "absent" if not any(now.values()) else "whole" if now == whole else "torn"
            counts[kind] += 1
            counts["left"] += bool(left(command)) and number == signal.SIGINT
        clear(command)
        if run(command.run, said) != 0 or contents(command) != whole:
            raise SystemExit(f"{command.name}: the run after {number.name} failed:\n{said.read_text()[-2000:]}")
        after = left(command)
        rows.append(
            f"| {command.name} | {number.name} | {stops} | {counts['absent']} | {counts['whole']} | "
            f"{counts['torn']} | {counts['left']} | {len(after)} |"
        )
        print(rows[-1], after[:3], file=sys.stderr, flush=True)
    return rows


def main() -> int:
    """Parses the command line, drills, prints the table; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=20, help="of each command by each signal")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one command, e.g. fuse")
    args = parser.parse_args()
    rows: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for command in commands(root):
            if args.only in (None, command.name):
                rows += drill(command, args.stops, np.random.default_rng(args.seed), root / "said.txt")
    print(
        "| command | signal | stops | absent | whole | torn | left after the stop | left after the next run |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
        sep="\n",
    )
    return int(
        any(
            cells[6].strip() != "0" or cells[7].strip() != "0" or cells[8].strip() != "0"
            for cells in (row.split("|") for row in rows)
        )
    )


if __name__ == "__main__":
    sys.exit(main())
