"""Pairs a second from the input pipeline, alone and beside the training step: `python benchmarks/pipeline.py`.

Prints a Markdown table: read from disk each epoch or cached in memory, whole slices or crops; how fast the pipeline
gives pairs on its own, how fast the step takes them with the pipeline feeding it, and how fast with the same batch over
and over. The pipeline starves the device where the last two differ.
"""

import argparse
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax

from benchmarks import timing
from benchmarks.our_model import configuration
from benchmarks.round_trip import add_data_flags
from fusioninn_jax import input_pipeline, models, objective
from fusioninn_jax.runtime.host_memory import keep_freed_memory
from fusioninn_jax.training import parallel, train_state


def rate(call, seconds, batch_size):
    """Pairs a second over about `seconds`."""
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        call()
        done += 1
    return done * batch_size / (time.perf_counter() - start)


def make_step(config, stack):
    """`step(stack)`, one training step waited for."""
    model = models.get("fusioninn", config.model.fusioninn)
    optimizer = train_state.make_optimizer(config.optimizer, 1000)
    variables = jax.jit(model.init)(jax.random.key(0), *objective.split_sources(stack))
    devices = jax.local_devices()[:1]
    state = [parallel.replicate(train_state.create(variables, optimizer, config.optimizer), devices)]
    compiled = parallel.make_train_step(model, optimizer, config, devices)

    def step(stack):
        state[0], metrics = compiled(state[0], parallel.split_batch(objective.Slices(stack), 1), jax.random.key(0))
        float(metrics["loss"])

    step(stack)
    return step


def row(args, cache, crop):
    config = configuration("logit")
    config.data.update(dataset=args.dataset, data_dir=args.data_dir, crop=crop, cache=cache)
    prepared = input_pipeline.open_dataset(config.data)
    batches = input_pipeline.train_batches(prepared, config.data, batch_size=args.batch, seed=0)
    batch = next(batches)
    for _ in range(prepared.sizes["train"] // args.batch + 1 if cache else 0):
        next(batches)  # the first epoch fills the cache
    alone = rate(lambda: next(batches), args.seconds, args.batch)
    step = make_step(config, batch["sources"])
    beside = rate(lambda: step(next(batches)["sources"]), args.seconds, args.batch)
    fixed = rate(lambda: step(batch["sources"]), args.seconds, args.batch)
    return [
        "memory" if cache else "disk",
        "x".join(map(str, crop)) or "whole slices",
        *(f"{value:.0f}" for value in (alone, beside, fixed)),
        f"{beside / fixed:.2f}",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=5)
    args = parser.parse_args()
    keep_freed_memory()  # as in training
    print(f"{args.dataset}, batch {args.batch}, {jax.devices()[0].device_kind}, pairs a second\n")
    rows = (row(args, cache, crop) for crop in ((), (96, 96)) for cache in (False, True))
    timing.print_table(["from", "size", "pipeline alone", "step fed by it", "step on one batch", "share"], rows)


if __name__ == "__main__":
    main()
