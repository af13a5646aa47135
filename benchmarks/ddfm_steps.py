"""Quality against time of DDFM's sampling by its number of steps, with FusionINN and the plain mean beside it.

    python benchmarks/ddfm_steps.py --workdir=runs/ddpm --split=test --images=8 [--fusioninn=runs/phantom]

Quality: means over the images of Q_XY and Q_SSIM. Time: of one batch, compiled before, divided by its images; the least
of all batches and repeats.
"""

import argparse
import time

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import input_pipeline, metrics, models, objective
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.training import checkpoint


def run(fuse, variables, stacks, repeats):
    """(fused images of all batches, seconds an image)."""
    compiled = jax.jit(fuse).lower(variables, *objective.split_sources(jnp.asarray(stacks[0]))).compile()
    fused, seconds = [], []
    for stack in stacks:
        sources = objective.split_sources(jnp.asarray(stack))
        for _ in range(repeats):
            started = time.perf_counter()
            image, _ = jax.block_until_ready(compiled(variables, *sources))
            seconds.append((time.perf_counter() - started) / len(stack))
        fused.append(np.asarray(image))
    return np.concatenate(fused), min(seconds)


def scores(sources, fused):
    """Mean Q_XY and Q_SSIM over whole slices, and Q_XY inside the brain."""
    fused, brain = jnp.clip(fused, 0, 1), brain_mask(sources)
    return [
        float(value.mean())
        for value in (
            metrics.q_xy(*sources, fused),
            metrics.q_xy(*sources, fused, mask=brain),
            metrics.q_ssim(*sources, fused),
        )
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, help="of a trained DDFM")
    parser.add_argument("--fusioninn", help="of a trained FusionINN; default: an untrained one, for its time alone")
    parser.add_argument("--data-dir", help="default: as in training")
    parser.add_argument("--split", default="test")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--steps", type=int, nargs="+", default=[10, 25, 50, 100])
    args = parser.parse_args()
    _, variables, config, step, *_ = checkpoint.load(args.workdir)
    config.data.data_dir = args.data_dir or config.data.data_dir
    prepared = input_pipeline.open_dataset(config.data)
    stacks = [
        batch["sources"]
        for batch in input_pipeline.evaluation_batches(
            prepared, config.data, args.split, batch_size=args.batch_size, limit=args.images
        )
    ]
    sources = objective.split_sources(jnp.asarray(np.concatenate(stacks)))

    if args.fusioninn:
        model, weights, *_ = checkpoint.load(args.fusioninn)
    else:
        model = models.get("fusioninn")
        weights = jax.jit(model.init)(jax.random.key(0), *sources)
    systems = {
        "mean": (models.get("mean"), {}),
        "FusionINN" if args.fusioninn else "FusionINN, untrained": (model, weights),
    }
    for steps in args.steps:
        settings = config.model.ddfm.copy_and_resolve_references()
        settings.steps = steps
        systems[f"DDFM, {steps} steps"] = (models.get("ddfm", settings), variables)

    print(f"{config.data.dataset}, {args.split}, {len(sources[0])} slices; DDFM of step {step}\n")
    print("| system | seconds an image | Q_XY | Q_XY, brain | Q_SSIM |\n|---|---|---|---|---|", flush=True)
    for name, (model, weights) in systems.items():
        fused, seconds = run(model.fuse, weights, stacks, args.repeats)
        cells = [f"{value:.4f}" for value in scores(sources, fused)]
        print(f"| {name} | {seconds:.4f} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
