"""How long XLA compiles, by depth and backward pass: `python benchmarks/compile_time.py`.

Prints a Markdown table of seconds to trace and lower, and to compile, the training step (batch 4, 240x240) and
`fuse`, without any compilation cache.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax

from benchmarks import timing
from benchmarks.our_model import Ours, configuration, sources
from fusioninn_jax.bijections.base import BACKWARDS

BLOCKS = (1, 3, 8, 16)


def seconds(function, *arguments):
    """(trace and lower, compile)."""
    start = time.perf_counter()
    lowered = function.lower(*arguments)
    middle = time.perf_counter()
    lowered.compile()
    return middle - start, time.perf_counter() - middle


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=BLOCKS)
    args = parser.parse_args()
    jax.config.update("jax_enable_compilation_cache", False)
    print(f"jax {jax.__version__}, {jax.devices()[0].device_kind}; seconds to trace + to compile\n")

    def rows():
        for blocks in args.blocks:
            found = []
            for backward in BACKWARDS:
                ours = Ours(configuration("logit", blocks=blocks, backward=backward), sources(4))
                found.append(seconds(*ours.step_call()))
            found.append(seconds(*ours.fuse_call()))
            yield [blocks, *(f"{trace:.1f} + {compile_:.1f}" for trace, compile_ in found)]

    timing.print_table(["k", *(f"step, {backward}" for backward in BACKWARDS), "fuse"], rows())


if __name__ == "__main__":
    main()
