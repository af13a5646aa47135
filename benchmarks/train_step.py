"""A training step beside the same step in PyTorch: `python benchmarks/train_step.py`.

Prints Markdown tables of milliseconds per 240x240 pair and of the memory a step needs. Model (k = 3), weights, loss
(SSIM + l2 + MMD) and optimiser (Adam) are the same on both sides, and so are threads and precision (float32). PyTorch
runs in each form of torch_model.FORMS, `eager` being the authors'; ours in both formulations, `official` being the
like one. Calls are interleaved; medians. Needs `pip install -e '.[bench]'`; PyTorch compiles for some minutes.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax

from benchmarks import timing
from benchmarks.our_model import FORMULATIONS, Ours, configuration, sources
from fusioninn_jax.interop.torch_checkpoint import convert
from fusioninn_jax.runtime.errors import cli
from fusioninn_jax.runtime.host_memory import keep_freed_memory

REPEATS = 7
OURS = "ours, "


def make(side, batch):
    """One side by its name in the table, on its own weights."""
    from benchmarks.torch_model import Torch

    pairs = sources(batch)
    if side.startswith(OURS):
        return Ours(configuration(side.removeprefix(OURS)), pairs)
    return Torch(side, pairs.transpose(0, 3, 1, 2))


def names():
    from benchmarks.torch_model import FORMS

    return [*(OURS + formulation for formulation in FORMULATIONS), *FORMS]


def agreement(batch):
    """Both sides' loss on the same weights. Their noise differs; the loss hardly depends on it."""
    from benchmarks.torch_model import Torch

    pairs = sources(batch)
    theirs = Torch("eager", pairs.transpose(0, 3, 1, 2))
    config, variables = convert("fusioninn", theirs.state())
    ours = Ours(configuration("official", permutations=config.permutations), pairs, variables)
    return ours.step(), theirs.step()


def print_memory(side, batch):
    """In a process of its own: what a step needs on top of what was there before it was built."""
    before = timing.resident_mb()
    made = make(side, batch)
    made.step()
    timing.reset_peak()
    made.step()
    print(timing.resident_mb(peak=True) - before)


def table(batch, repeats):
    sides = {name: make(name, batch) for name in names()}
    for side in sides.values():
        side.step()  # compiles
    with timing.watched():
        seconds = timing.interleaved({name: side.step for name, side in sides.items()}, repeats)
    ours = seconds[OURS + "official"]
    best = min((value, name) for name, value in seconds.items() if not name.startswith(OURS))[1]
    timing.print_table(
        [f"batch {batch}", "ms per pair", "times ours, official"],
        (
            [name + (" (PyTorch's best)" if name == best else ""), f"{1e3 * value / batch:.1f}", f"{value / ours:.2f}"]
            for name, value in seconds.items()
        ),
    )
    print(
        f"\nours, official: {seconds['eager'] / ours:.2f} times as fast as the authors' form, "
        f"{seconds[best] / ours:.2f} times as fast as PyTorch's best\n",
        flush=True,
    )


def memory_table(batches):
    def mb(name, batch):
        return f"{float(timing.child('--memory-of', name, '--batches', str(batch))):.0f}"

    timing.print_table(
        ["memory of a step", *(f"batch {batch}, MB" for batch in batches)],
        ([name, *(mb(name, batch) for batch in batches)] for name in names()),
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--memory-of", help="used by the command itself")
    args = parser.parse_args()
    from benchmarks.torch_model import use_all_cores, versions

    threads = use_all_cores()
    keep_freed_memory()  # on both sides: PyTorch allocates from the same C library
    if args.memory_of:
        print_memory(args.memory_of, args.batches[0])
        return
    print(
        f"{threads} threads, float32, {timing.SIZE}x{timing.SIZE}, medians of {args.repeats}; jax {jax.__version__}, "
        f"{versions()}"
    )
    ours, theirs = agreement(2)
    print(f"loss on the same weights: ours {ours:.5f}, PyTorch {theirs:.5f}\n")
    for batch in args.batches:
        table(batch, args.repeats)
    memory_table(args.batches)


if __name__ == "__main__":
    cli(main)
