"""What rounding does to the rebuilt backward pass, by depth.

    python benchmarks/rebuilt_gradients.py --dataset=brats/t1gd_flair --data-dir=runs/data

For k = 1 ... 32 blocks of the `logit` model, trained briefly: the difference of its gradients from plain autodiff's
(norm of the difference over the norm; float64, float32), which must stay below `BOUNDS`, up to k = 16, since beyond it
the four gradients take many minutes to compile; and the drift in float32, the largest difference between the flow's
input and the input rebuilt from its output.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from benchmarks.round_trip import add_data_flags, read, train_briefly
from fusioninn_jax import models, objective
from fusioninn_jax.models.fusioninn import make_flow

BLOCKS = (1, 2, 3, 4, 8, 16, 32)
BOUNDS = {np.float64: 1e-10, np.float32: 1e-4}
BOUNDED_DEPTH = 16


def gradient(config, variables, stack, backward):
    """The gradient of the total loss as one vector."""
    config.model.fusioninn.backward = backward
    model = models.get("fusioninn", config.model.fusioninn)
    keys = jax.random.split(jax.random.key(1), len(stack))

    def loss(v):
        parts, _, _ = objective.loss_parts(
            model, v, objective.Slices(stack), keys, config.losses, train=True, gather=lambda x: x
        )
        return objective.per_image_loss(model, parts, config.losses).mean()

    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(jax.jit(jax.grad(loss))(variables))])


def difference(config, variables, stack, dtype):
    """The rebuilt gradient against the stored one, both in `dtype`."""
    with jax.enable_x64(dtype == np.float64):
        stack = jnp.asarray(stack.astype(dtype))
        variables = jax.tree.map(lambda p: jnp.asarray(np.asarray(p).astype(dtype)), variables)
        stored, rebuilt = (gradient(config, variables, stack, backward) for backward in ("stored", "rebuilt"))
        return np.linalg.norm(rebuilt - stored) / np.linalg.norm(stored)


def drift(config, variables, stack):
    """Largest |rebuilt input - input| of the flow over the standard deviation of its input, float32."""
    flow, params = make_flow(config.model.fusioninn), variables["params"]
    y, _ = jax.jit(flow.forward)(params, jnp.asarray(stack))
    back, _ = jax.jit(flow.inverse)(params, y)
    return float(jnp.abs(back - stack).max() / stack.std())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_flags(parser)
    parser.add_argument("--blocks", type=int, nargs="+", default=BLOCKS)
    parser.add_argument("--steps", type=int, default=30)
    args = parser.parse_args()
    config, stacks, whole = read(args)
    print(f"{args.dataset}, {len(whole)} whole slices; trained: {args.steps} steps of batch 8 on 64x64 crops\n")
    kept = []

    def rows():
        for blocks in args.blocks:
            config.model.fusioninn.update(blocks=blocks, backward="stored")
            _, variables = train_briefly(config, stacks, args.steps)
            found = {dtype: difference(config, variables, whole, dtype) for dtype in BOUNDS if blocks <= BOUNDED_DEPTH}
            kept.append(all(value <= BOUNDS[dtype] for dtype, value in found.items()))
            cells = [f"{found[dtype]:.1e}" if dtype in found else "" for dtype in BOUNDS]
            yield [blocks, *cells, f"{drift(config, variables, whole):.1e}"]

    timing.print_table(["k", "gradient, float64", "gradient, float32", "drift, float32"], rows())
    print(f"\nwithin the bounds up to k = {BOUNDED_DEPTH}: {'yes' if all(kept) else 'NO'}")
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
