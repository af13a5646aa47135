"""A training step with the backward pass stored or rebuilt, the conditioners in float32 or bfloat16.

    python benchmarks/step_variants.py [--batch 8] [--blocks 3 8]

Prints a Markdown table of milliseconds per 240x240 pair of the default `logit` flow; calls interleaved, medians.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax

from benchmarks import timing
from benchmarks.our_model import Ours, configuration, sources
from fusioninn_jax.runtime.errors import cli
from fusioninn_jax.runtime.host_memory import keep_freed_memory

VARIANTS = {
    "stored, float32": {},
    "rebuilt, float32": {"backward": "rebuilt"},
    "stored, bfloat16": {"dtype": "bfloat16"},
}


def row(blocks, pairs, repeats):
    """Milliseconds a pair of each variant, and times the first."""
    sides = {name: Ours(configuration("logit", blocks=blocks, **changes), pairs) for name, changes in VARIANTS.items()}
    for side in sides.values():
        side.step()  # compiles
    seconds = timing.interleaved({name: side.step for name, side in sides.items()}, repeats)
    first = next(iter(seconds.values()))
    return [blocks, *(f"{1e3 * value / len(pairs):.1f} ({value / first:.2f})" for value in seconds.values())]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--blocks", type=int, nargs="+", default=[3, 8])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    keep_freed_memory()  # as in training
    print(f"{jax.devices()[0].device_kind}, batch {args.batch}, ms a pair (times the first)\n")
    pairs = sources(args.batch)
    with timing.watched():
        timing.print_table(["k", *VARIANTS], (row(blocks, pairs, args.repeats) for blocks in args.blocks))


if __name__ == "__main__":
    cli(main)
