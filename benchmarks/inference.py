"""Fusing and decomposing beside PyTorch: `python benchmarks/inference.py`.

Prints a Markdown table of milliseconds per 240x240 pair. Model, weights, threads and precision as in train_step.py;
PyTorch in each form of torch_model.FORMS, without gradients. Calls are interleaved; medians.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import numpy as np

from benchmarks import timing
from benchmarks.our_model import FORMULATIONS, Ours, configuration, sources
from fusioninn_jax.interop.torch_checkpoint import convert
from fusioninn_jax.runtime.errors import cli
from fusioninn_jax.runtime.host_memory import keep_freed_memory

REPEATS = 9


def sides(batch):
    """Every side on one and the same pair of weights, `logit` on its own."""
    from benchmarks.torch_model import FORMS, Torch

    pairs = sources(batch)
    theirs = {form: Torch(form, pairs.transpose(0, 3, 1, 2)) for form in FORMS}
    config, variables = convert("fusioninn", theirs["eager"].state())
    ours = {f"ours, {formulation}": Ours(configuration(formulation), pairs) for formulation in FORMULATIONS}
    ours["ours, official"] = Ours(configuration("official", permutations=config.permutations), pairs, variables)
    return ours, theirs


def check(ours, theirs):
    """The largest difference of the fused and decomposed images of the two sides."""
    fused, latent = ours.fuse()
    their_fused, their_latent = theirs.fuse()
    pairs = [
        (fused, their_fused),
        *zip(ours.decompose(fused, latent), theirs.decompose(their_fused, their_latent).split(1, 1), strict=True),
    ]
    return max(np.abs(np.asarray(a)[..., 0] - b.numpy()[:, 0]).max() for a, b in pairs)


def table(batch, repeats):
    ours, theirs = sides(batch)
    every = ours | theirs
    difference = check(ours["ours, official"], theirs["eager"])
    given = {name: side.fuse() for name, side in every.items()}
    with timing.watched():
        fuse = timing.interleaved({name: side.fuse for name, side in every.items()}, repeats)
        decompose = timing.interleaved(
            {name: (lambda side=side, images=given[name]: side.decompose(*images)) for name, side in every.items()},
            repeats,
        )
    reference = {"fuse": fuse["ours, official"], "decompose": decompose["ours, official"]}
    rows = [
        [
            name,
            *(f"{1e3 * of[name] / batch:.2f}" for of in (fuse, decompose)),
            *(f"{of[name] / reference[kind]:.2f}" for kind, of in (("fuse", fuse), ("decompose", decompose))),
        ]
        for name in every
    ]
    timing.print_table(
        [
            f"batch {batch}",
            "fuse, ms per pair",
            "decompose, ms per pair",
            "fuse, times ours, official",
            "decompose, times ours, official",
        ],
        rows,
    )
    ratios = [min(of[name] for name in theirs) / of["ours, official"] for of in (fuse, decompose)]
    print(
        f"\nours, official: {ratios[0]:.2f} (fuse) and {ratios[1]:.2f} (decompose) times as fast as PyTorch's best; "
        f"images differ by at most {difference:.0e}\n",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--repeats", type=int, default=REPEATS)
    args = parser.parse_args()
    from benchmarks.torch_model import use_all_cores, versions

    threads = use_all_cores()
    keep_freed_memory()  # on both sides: PyTorch allocates from the same C library
    print(
        f"{threads} threads, float32, {timing.SIZE}x{timing.SIZE}, medians of {args.repeats}; jax {jax.__version__}, "
        f"{versions()}\n"
    )
    for batch in args.batches:
        table(batch, args.repeats)


if __name__ == "__main__":
    cli(main)
