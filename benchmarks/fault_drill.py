"""Kills a training at random moments, saves included, and damages its checkpoints: `python benchmarks/fault_drill.py`.

A tiny training is stopped by SIGKILL, SIGTERM or SIGINT while it starts, trains or saves, and resumed, until it has
been stopped often enough; whatever it logs must be, bit for bit, what an uninterrupted run logs, and no half-written
file may lie in its folder after SIGTERM or SIGINT, nor at the end. Then copies of a checkpoint get a bit flipped, a
file cut short or a file removed, and are restored. Prints two Markdown tables; exits 1 where a run went on differently,
lost more than it had to, left something, or a damage went unnoticed. Every run is a process of its own, forked from
this one, which has imported everything but has not started JAX.
"""

import argparse
import contextlib
import io
import multiprocessing
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import numpy as np

from benchmarks import timing
from fusioninn_jax import train
from fusioninn_jax.models.fusioninn import settled
from fusioninn_jax.runtime.staging import STAGING
from fusioninn_jax.training import checkpoint, checkpoint_folders
from fusioninn_jax.training.train_log import TRAIN_FILE
from tests import many_processes, training_case

MOMENTS = ("start-up", "training", "save")
SIGNALS = (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGKILL)  # drawn from; saves are always killed
EVERY = 10  # steps between checkpoints
FORK = multiprocessing.get_context("fork")
DEADLINE = 300  # seconds for anything


def configuration(data_dir, steps):
    config = training_case.config(data_dir)
    config.model.fusioninn.blocks = 1
    config.train.steps, config.train.eval_every = steps, EVERY
    return config


def prepare(data_dir):
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        training_case.prepare(data_dir)


def run(config, workdir, log):
    """A training in this (child) process; notes the step that it goes on from, and says all else to a file."""
    with log.open("a") as said, contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        restore = checkpoint.restore_latest

        def noted(*arguments):
            restored = restore(*arguments)
            (workdir.parent / "resumed").write_text(str(int(restored.state.step) if restored else 0))
            return restored

        checkpoint.restore_latest = noted
        train.train_and_evaluate(config, str(workdir))


def child(target, *arguments):
    process = FORK.Process(target=target, args=arguments)
    process.start()
    return process


def wait_until(condition, process):
    """Whether the condition came before the process ended."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        if not process.is_alive():
            return False
        if time.monotonic() > deadline:
            raise SystemExit("a run took too long")
        time.sleep(0.001)
    return True


def saving(workdir):
    return any("tmp" in path.name for path in (workdir / checkpoint_folders.FOLDER).glob("*"))


def stop_at_random(process, workdir, moment, rng):
    """Sends a signal; returns (signal, whether a save was under way), or None where the run ended first."""
    before = len((workdir / TRAIN_FILE).read_text()) if (workdir / TRAIN_FILE).exists() else 0
    if moment == "start-up":
        time.sleep(rng.uniform(0, 4))
    elif not wait_until(
        lambda: (workdir / TRAIN_FILE).exists() and len((workdir / TRAIN_FILE).read_text()) > before, process
    ):
        return None
    elif moment == "training":
        time.sleep(rng.uniform(0, 1.5))
    elif not wait_until(lambda: saving(workdir), process):
        return None
    else:
        time.sleep(rng.uniform(0, 0.05))
    number = signal.SIGKILL if moment == "save" else SIGNALS[rng.integers(len(SIGNALS))]
    if not process.is_alive():
        return None
    os.kill(process.pid, number)
    process.join(DEADLINE)
    return number, number == signal.SIGKILL and saving(workdir)


def half_written(workdir):
    """What a save or a writing of results has left over."""
    return [path for path in workdir.rglob("*") if "tmp" in path.name or path.name.startswith(STAGING)]


def check(workdir, expected):
    """(last step logged, whether every logged loss is that of the uninterrupted run, without gaps)."""
    found = many_processes.losses(workdir)
    return (found[-1][0] if found else 0), found == expected[: len(found)]


def drill(folder, data_dir, args, rng):
    """A record for each stop."""
    config, log = configuration(data_dir, args.steps), folder / "said.txt"
    reference = child(run, config, folder / "reference" / "run", log)
    reference.join(DEADLINE)
    expected = many_processes.losses(folder / "reference" / "run")
    if reference.exitcode or len(expected) != args.steps:
        raise SystemExit(f"the uninterrupted run failed:\n{log.read_text()[-2000:]}")
    records, workdir, rounds = [], folder / "drill" / "run", 0
    while len(records) < args.stops:
        logged, _ = check(workdir, expected)
        newest = checkpoint_folders.newest_step(workdir) or 0
        process = child(run, config, workdir, log)
        moment = MOMENTS[len(records) % len(MOMENTS)]
        stopped = stop_at_random(process, workdir, moment, rng)
        process.join(DEADLINE)
        resumed, (last, same) = workdir.parent / "resumed", check(workdir, expected)
        if records and resumed.exists():  # what the stop before this start cost
            records[-1] |= {"resumed": int(resumed.read_text()) == newest, "lost": logged - newest}
        resumed.unlink(missing_ok=True)
        if stopped:
            records.append(
                {
                    "moment": moment,
                    "signal": stopped[0].name,
                    "in a save": stopped[1],
                    "same": same,
                    "code": process.exitcode,
                    "left": [] if stopped[0] == signal.SIGKILL else half_written(workdir),
                }
            )
            print(len(records), records[-1], "step", last, file=sys.stderr, flush=True)
        elif process.exitcode or not same or last != args.steps:
            raise SystemExit(f"a resumed run went wrong at step {last}:\n{log.read_text()[-2000:]}")
        else:
            rounds += 1
            shutil.rmtree(workdir)
    child(run, config, workdir, log).join(DEADLINE)
    finished = check(workdir, expected) == (args.steps, True) and not half_written(workdir)
    return records, finished, workdir


def damage_copies(config, workdir, count, seed, results):
    """Restores `count` damaged copies in this (child) process; puts how many were found, harmless and unnoticed."""
    from fusioninn_jax import input_pipeline, models
    from fusioninn_jax.training import train_state

    config = train.resolve(config, input_pipeline.open_dataset(config.data))
    config.model.fusioninn = settled(config.model.fusioninn)
    optimizer = train_state.make_optimizer(config.optimizer, config.train.steps)
    state = train.initial_state(
        models.get("fusioninn", config.model.fusioninn), optimizer, config, input_pipeline.open_dataset(config.data)
    )
    intact = checkpoint.restore_latest(workdir, state, config)
    newest, rng = int(intact.state.step), np.random.default_rng(seed)
    tally = {kind: {"found": 0, "harmless": 0, "unnoticed": 0} for kind in ("bit flipped", "cut short", "removed")}
    for _ in range(count):
        copy = workdir.parent / "copy"
        shutil.copytree(workdir / checkpoint_folders.FOLDER, copy / checkpoint_folders.FOLDER)
        kind = list(tally)[rng.integers(len(tally))]
        damage(copy / checkpoint_folders.FOLDER / str(newest), kind, rng)
        with contextlib.redirect_stderr(io.StringIO()):
            restored = checkpoint.restore_latest(copy, state, config)
        same = int(restored.state.step) == newest and all(
            np.array_equal(a, b) for a, b in zip(jax.tree.leaves(restored), jax.tree.leaves(intact), strict=True)
        )
        passed_over = int(restored.state.step) < newest
        tally[kind]["found" if passed_over else "harmless" if same else "unnoticed"] += 1
        shutil.rmtree(copy)
    results.put(tally)


def damage(folder, kind, rng):
    """Every file is as likely as any other."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size)
    path = files[rng.integers(len(files))]
    content = bytearray(path.read_bytes())
    if kind == "bit flipped":
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
    elif kind == "cut short":
        path.write_bytes(content[: rng.integers(len(content))])
    else:
        path.unlink()


def print_stops(records, finished):
    """The first table; returns whether all went well."""
    rows, good = [], finished
    for moment in MOMENTS:
        for name in ("SIGKILL", "SIGTERM", "SIGINT"):
            of = [record for record in records if (record["moment"], record["signal"]) == (moment, name)]
            if not of:
                continue
            exact = sum(record["same"] and record.get("resumed", True) for record in of)
            lost = [record["lost"] for record in of if "lost" in record]
            good &= exact == len(of) and max(lost, default=0) < 2 * EVERY
            left = sum(len(record["left"]) for record in of)
            good &= not left
            if name != "SIGKILL" and moment != "start-up":
                good &= not any(lost) and not any(record["code"] for record in of)
            rows.append(
                [
                    moment,
                    name,
                    len(of),
                    sum(record["in a save"] for record in of),
                    f"{exact} / {len(of)}",
                    max(lost, default="-"),
                    left,
                    sum(record["code"] == 0 for record in of),
                ]
            )
    timing.print_table(
        [
            "stopped in",
            "by",
            "times",
            "half-written save in the folder",
            "resumed exactly",
            "most steps lost",
            "half-written files left",
            "exit code 0",
        ],
        rows,
    )
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stops", type=int, default=51)
    parser.add_argument("--steps", type=int, default=200, help="of the training; begun anew where it is over too soon")
    parser.add_argument("--damages", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        jax.config.update("jax_compilation_cache_dir", str(folder / "cache"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        data_dir = folder / "data"
        child(prepare, data_dir).join(DEADLINE)  # TensorFlow starts threads, which a fork would lose
        records, finished, workdir = drill(folder, data_dir, args, np.random.default_rng(args.seed))
        print(
            f"\n{args.steps} steps, a checkpoint every {EVERY}, seed {args.seed}; the last run ended as the "
            f"uninterrupted one: {'yes' if finished else 'NO'}\n"
        )
        good = print_stops(records, finished)
        results = FORK.Queue()
        process = child(damage_copies, configuration(data_dir, args.steps), workdir, args.damages, args.seed, results)
        tally = results.get(timeout=DEADLINE)
        process.join(DEADLINE)
    print()
    timing.print_table(
        ["damage to a file of the newest checkpoint", "passed over, with a warning", "nothing was lost", "UNNOTICED"],
        [[kind, *counts.values()] for kind, counts in tally.items()],
    )
    return int(not good or any(counts["unnoticed"] for counts in tally.values()))


if __name__ == "__main__":
    sys.exit(main())
