"""All figures of a graphics card in one command, beside PyTorch at its best: `python benchmarks/gpu.py`.

Prints Markdown tables: a training step, `fuse` and `decompose` of `official` and of the default flow, in float32, TF32
and bfloat16, and of `official`'s network and weights in PyTorch (gpu_torch.py); then what the compiled programs hold.
Milliseconds are medians of calls that are awaited one by one, and the mean of calls that are queued, as in training.
The FLOPs are those of the lowered program, bytes those of the compiled one; shares are of what a large matrix product
and a large copy reach on the same card. Memory is what a call needs beside its arguments: XLA's plan, PyTorch's peak.

Every part and every row may fail on its own; `--only` chooses parts, `--tiny` tries the command without a card. Needs
the package and its plain dependencies, not TensorFlow; for PyTorch's rows torch, FrEIA and pytorch-msssim.
"""

import argparse
import concurrent.futures
import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch's processes share the card
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import numpy as np

from benchmarks import gpu_programs as programs
from benchmarks.gpu_cases import CASES, TINY, one_line, timed
from benchmarks.gpu_rivals import Rivals

PARTS = ("peaks", "step", "fuse", "decompose", "torch", "program")
START = time.monotonic()


def say(*words):
    print(*words, flush=True)


def guarded(part, function, *arguments):
    """What the function gives; None, and one line that says why, where it fails."""
    try:
        return function(*arguments)
    except Exception as error:
        say(f"({part} failed: {one_line(error)})")
        return None


def peaks(tiny):
    """TFLOP/s of a large matrix product by precision, and GB/s of a large copy (read and written)."""
    size = 256 if tiny else 8192
    a = jax.random.normal(jax.random.key(0), (size, size))
    found = {}
    for name, (precision, dtype) in programs.PRECISIONS.items():
        product = jax.jit(lambda x, precision=precision: jax.numpy.matmul(x, x, precision=precision))
        x = a.astype(dtype)
        found[name] = 2 * size**3 / timed(lambda product=product, x=x: product(x), jax.block_until_ready)[1] / 1e12
    big = jax.numpy.ones((2**20 if tiny else 2**29,))
    found["copy"] = 8 * big.size / timed(lambda: add_one(big), jax.block_until_ready)[1] / 1e9
    say(
        "Reached by a large matrix product, TFLOP/s: "
        + ", ".join(f"{name} {found[name]:.1f}" for name in programs.PRECISIONS)
        + f"; by a large copy {found['copy']:.0f} GB/s\n"
    )
    return found


@jax.jit
def add_one(x):
    return x + 1


def compiled(wanted, cases, weights):
    """Every program of ours that compiles: {(case, flow, precision): ...}; lowered in turn, compiled meanwhile."""
    lowered, jobs = {}, {}
    with concurrent.futures.ThreadPoolExecutor(min(12, os.cpu_count() or 1)) as pool:
        for case in cases:
            for flow, precision in wanted:
                key = case, flow, precision
                program = guarded(", ".join(map(str, key)), programs.lowered, *key, weights)
                if program:
                    lowered[key], jobs[key] = program, pool.submit(program.compile)
        say(f"({time.monotonic() - START:.0f} s: {len(lowered)} programs lowered)")
        made = {key: lowered[key] for key, job in jobs.items() if guarded(", ".join(map(str, key)), job.result)}
    say(f"({time.monotonic() - START:.0f} s: {len(made)} programs compiled)\n")
    return made


HEADS = (
    "",
    "ms",
    "ms, queued",
    "ms a pair, queued",
    "TFLOP/s",
    "share of the product's",
    "GB/s",
    "share of the copy's",
    "MB",
)


def row(name, case, figures, peak, precision):
    """A line of a case's table; `figures`: seconds, seconds queued, FLOPs, bytes, MB, None where unknown."""
    alone, queued, flops, moved, mb = figures

    def share(value, of):
        return f"{value:.1f}" if value else "", f"{value / of:.0%}" if value and of else ""

    cells = [
        name,
        f"{1e3 * alone:.3f}",
        f"{1e3 * queued:.3f}",
        f"{1e3 * queued / case.batch:.4f}",
        *share(flops and flops / queued / 1e12, peak.get(precision)),
        *share(moved and moved / queued / 1e9, peak.get("copy")),
        "" if mb is None else f"{mb:.0f}",
    ]
    return "| " + " | ".join(cells) + " |"


def table(case, made, peak, rivals):
    """One case: ours, then PyTorch's forms, then how many times each precision's best is slower than ours."""
    say(f"**{case}** ({time.monotonic() - START:.0f} s)\n")
    say("| " + " | ".join(HEADS) + " |\n|" + "---|" * len(HEADS))
    ours, flops = {}, None
    for (of_case, flow, precision), program in made.items():
        figures = guarded(f"{case}, {flow}, {precision}", program.figures) if of_case == case else None
        if figures:
            ours[flow, precision] = figures[1]
            flops = figures[2] if flow == "official" else flops
            say(row(f"ours, {flow}, {precision}", case, figures, peak, precision))
    best = {}
    for form, precision, *times, mb in rivals.rows(case) if rivals else ():
        say(row(f"PyTorch, {form}, {precision}", case, (*times, flops, None, mb), peak, precision))
        best[precision] = min(best.get(precision, (times[1], form)), (times[1], form))
    say()
    for precision, (seconds, form) in best.items():
        own = ours.get(("official", precision))
        if own:
            say(f"{precision}: PyTorch's best ({form}) takes {seconds / own:.2f} times as long as ours, `official`")
    say()


def agreement(case, weights, rivals):
    """Both sides' images on the same weights."""
    theirs = rivals.images(case)
    worst = max(
        float(np.abs(np.asarray(ours)[..., 0] - image[:, 0]).max())
        for ours, image in zip(programs.images(case, weights), theirs, strict=True)
    )
    say(f"{case}, float32: images of the two sides differ by at most {worst:.0e}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="parts to run; torch: PyTorch's rows")
    parser.add_argument("--flows", nargs="+", choices=programs.FLOWS, default=programs.FLOWS)
    parser.add_argument("--precisions", nargs="+", choices=[*programs.PRECISIONS], default=[*programs.PRECISIONS])
    parser.add_argument("--tiny", action="store_true", help="small images, to try the command")
    parser.add_argument("--compile-seconds", type=int, default=75, help="PyTorch leaves out what is not compiled then")
    parser.add_argument("--seconds", type=int, default=140, help="no table is begun after as long")
    args = parser.parse_args()
    device = jax.devices()[0]
    say(f"{device.device_kind} ({device.platform}), jax {jax.__version__}, numpy {np.__version__}\n")
    cases = [case for case in (TINY if args.tiny else CASES) if case.kind in args.only]
    with tempfile.TemporaryDirectory() as folder:
        rivals = guarded("torch", Rivals, cases, folder, args.compile_seconds) if "torch" in args.only else None
        try:
            run(args, cases, rivals)
        finally:
            if rivals:
                rivals.close()
    say(f"({time.monotonic() - START:.0f} s in all)")


def run(args, cases, rivals):
    weights = rivals.weights if rivals else None
    wanted = [(flow, precision) for flow in args.flows for precision in args.precisions]
    peak = guarded("peaks", peaks, args.tiny) or {} if "peaks" in args.only else {}
    made = compiled(wanted, cases, weights)
    if rivals:
        rivals.wait()
    say(f"({time.monotonic() - START:.0f} s: PyTorch compiled)\n" if rivals else "")
    for case in cases:
        if time.monotonic() - START > args.seconds:
            say(f"({case} left out: {args.seconds} s are over)\n")
        else:
            guarded(case, table, case, made, peak, rivals)
    first = next((case for case in cases if case.kind == "fuse"), None)
    if rivals and first:
        guarded("agreement", agreement, first, weights, rivals)
    stats = jax.devices()[0].memory_stats()
    if stats:
        say(f"peak of this process's device memory: {stats['peak_bytes_in_use'] / 2**20:.0f} MB\n")
    if "program" in args.only:
        guarded("program", programs.describe, made, cases, weights)


if __name__ == "__main__":
    main()
