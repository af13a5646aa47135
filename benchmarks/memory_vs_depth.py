"""Memory of a training step against depth, stored and rebuilt: `python benchmarks/memory_vs_depth.py`.

Prints a Markdown table for k = 1 ... 32 blocks, batch 4, 240x240: what XLA plans for temporary buffers, and what the
process really takes at its peak (resident memory, each step in a process of its own, what was there before the step
subtracted). Ends with the growth from k = 3 to the deepest, which for the rebuilt pass must stay below `BOUND`.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax

from benchmarks import timing
from benchmarks.our_model import Ours, configuration, sources
from fusioninn_jax.bijections.base import BACKWARDS

BLOCKS = (1, 2, 3, 4, 8, 16, 32)
BOUND = 1.5


def print_memory(backward, blocks, batch, size):
    """In a process of its own: planned MB, and MB at the peak of a step above those before it."""
    ours = Ours(configuration("logit", backward=backward, blocks=blocks), sources(batch, size))
    function, *arguments = ours.step_call()
    compiled = function.lower(*arguments).compile()
    planned = compiled.memory_analysis().temp_size_in_bytes / 2**20
    before = timing.resident_mb()
    timing.reset_peak()
    jax.block_until_ready(compiled(*arguments))
    print(planned, timing.resident_mb(peak=True) - before)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=BLOCKS)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=timing.SIZE)
    parser.add_argument("--of", choices=BACKWARDS, help="used by the command itself")
    args = parser.parse_args()
    if args.of:
        print_memory(args.of, args.blocks[0], args.batch, args.size)
        return 0
    print(f"batch {args.batch}, {args.size}x{args.size}, `logit`\n")
    fixed = ("--batch", str(args.batch), "--size", str(args.size))
    found = {}

    def rows():
        for blocks in args.blocks:
            for backward in BACKWARDS:
                line = timing.child("--of", backward, "--blocks", str(blocks), *fixed)
                found[backward, blocks] = [float(word) for word in line.split()]
            yield [blocks, *(f"{mb:.0f}" for backward in BACKWARDS for mb in found[backward, blocks])]

    heads = [f"{backward}, {kind}, MB" for backward in BACKWARDS for kind in ("planned", "resident")]
    timing.print_table(["k", *heads], rows())
    first, last = 3 if 3 in args.blocks else args.blocks[0], args.blocks[-1]
    growth = {
        backward: [b / a for a, b in zip(found[backward, first], found[backward, last], strict=True)]
        for backward in BACKWARDS
    }
    for backward, (planned, resident) in growth.items():
        print(f"\n{backward}: k = {last} needs {planned:.2f} (planned) and {resident:.2f} (resident) times k = {first}")
    return 0 if max(growth["rebuilt"]) <= BOUND else 1


if __name__ == "__main__":
    sys.exit(main())
