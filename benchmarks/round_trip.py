"""Largest round-trip error on whole slices, for k = 1 … 8 blocks, untrained and trained, in float32 and float64.

    python benchmarks/round_trip.py --dataset=brats/t1gd_flair --data-dir=runs/data --steps=100

`logit` is taken through the model: decompose(fuse(sources)) with the true latent. `official` is not lossless there
(it feeds sigmoid(y) to the inverse), so its flow alone is taken: inverse(forward(sources)).
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fusioninn_jax import input_pipeline, models, objective, settings
from fusioninn_jax.models.fusioninn import make_flow
from fusioninn_jax.models.padding import pad_slices


def train_briefly(config, stacks, steps):
    """Variables before and after `steps` of Adam on the total loss, one crop batch a step."""
    model = models.get("fusioninn", config.model.fusioninn)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(2e-3))
    start = jax.jit(model.init)(jax.random.key(0), *objective.split_sources(jnp.asarray(stacks[0])))

    @jax.jit
    def step(variables, opt_state, stack, key):
        keys = jax.random.split(key, len(stack))

        def loss(v):
            parts, _, _ = objective.loss_parts(
                model, v, objective.Slices(stack), keys, config.losses, train=True, gather=lambda x: x
            )
            return objective.per_image_loss(model, parts, config.losses).mean()

        updates, opt_state = optimizer.update(jax.grad(loss)(variables), opt_state)
        return optax.apply_updates(variables, updates), opt_state

    variables, opt_state = start, optimizer.init(start)
    for i in range(steps):
        variables, opt_state = step(variables, opt_state, stacks[i % len(stacks)], jax.random.key(i))
    return start, variables


def error(config, variables, stack, dtype):
    """The largest absolute difference between the sources and what comes back."""
    with jax.enable_x64(dtype == np.float64):
        stack = jnp.asarray(stack.astype(dtype))
        variables = jax.tree.map(lambda p: jnp.asarray(np.asarray(p).astype(dtype)), variables)
        if config.model.fusioninn.formulation == "official":
            flow = make_flow(config.model.fusioninn)
            y, _ = jax.jit(flow.forward)(variables["params"], stack)
            back, _ = jax.jit(flow.inverse)(variables["params"], y)
        else:
            model = models.get("fusioninn", config.model.fusioninn)
            fused, latent = jax.jit(model.fuse)(variables, *objective.split_sources(stack))
            back = jnp.concatenate(jax.jit(model.decompose)(variables, fused, latent), -1)
        return float(jnp.abs(back - stack).max())


def add_data_flags(parser):
    """Which slices to read."""
    parser.add_argument("--dataset", default="brain_phantom/default")
    parser.add_argument("--data-dir", default="runs/data")


def read(args):
    """A configuration, 25 training batches of 8 crops of 64x64, and 4 whole slices of other patients."""
    config = settings.defaults()
    config.data.dataset, config.data.data_dir, config.data.crop = args.dataset, args.data_dir, (64, 64)
    prepared = input_pipeline.open_dataset(config.data)
    batches = input_pipeline.train_batches(prepared, config.data, batch_size=8, seed=0)
    stacks = [next(batches)["sources"] for _ in range(25)]
    whole = next(input_pipeline.evaluation_batches(prepared, config.data, "validation", batch_size=4, limit=4))
    return config, stacks, np.asarray(pad_slices(whole["sources"], 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--blocks", type=int, nargs="+", default=list(range(1, 9)))
    args = parser.parse_args()
    config, stacks, whole = read(args)
    print(f"{args.dataset}, {len(whole)} whole slices; trained: {args.steps} steps of batch 8 on 64x64 crops\n")
    print("| formulation | k | untrained f32 | untrained f64 | trained f32 | trained f64 |\n|---|---|---|---|---|---|")
    for formulation in ("logit", "official"):
        for blocks in args.blocks:
            config.model.fusioninn.update(formulation=formulation, blocks=blocks)
            config.model.fusioninn.actnorm = "batch" if formulation == "official" else "identity"
            cells = [
                f"{error(config, variables, whole, dtype):.1e}"
                for variables in train_briefly(config, stacks, args.steps)
                for dtype in (np.float32, np.float64)
            ]
            print(f"| {formulation} | {blocks} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
