"""Does the spread over fresh latents tell how wrong a decomposed pixel is? Calibration of the uncertainty map.

    python benchmarks/uncertainty.py --workdir=runs/brats --split=test --limit=24 --samples=16

The fused image is stored in 8 bits. Per modality: SSIM inside the brain of one decomposition with a fresh latent, of
the one with latent 0 and of the mean over the samples; then brain pixels sorted by their spread over the samples into
ten equal parts, with the root of the mean squared error of the mean beside the spread of each part. The ratio of the
two over all pixels is the factor that makes the spread an error bar; the nearer each part's own ratio, the better.
"""
import argparse
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import input_pipeline, objective, storage, volumes
from fusioninn_jax.brain import brain_mask
from fusioninn_jax.ssim import ssim
from fusioninn_jax.training import checkpoint

PARTS = 10


def decompositions(model, variables, stack, key, samples):
    """One with a fresh latent, the one with latent 0, mean and spread of `samples`, each (B, H, W, M)."""
    fused, latent = jax.jit(model.fuse)(variables, *objective.split_sources(stack))
    units = jnp.broadcast_to(jnp.array([0.0, 1.0]), (len(stack), stack.shape[-1], 2))
    stored = volumes.FusedVolume(storage.store(fused[..., 0], 8), units, None, stack.shape[1:3])
    fresh = volumes.decompose_volume(model, variables, stored, key=key)
    zero = volumes.decompose_volume(model, variables, dataclasses.replace(stored, latent=jnp.zeros_like(latent)))
    mean, spread = volumes.decompose_samples(model, variables, stored, key=key, samples=samples)
    return [jnp.moveaxis(images, 0, -1) for images in (fresh, zero, mean, spread)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=24, help="slices")
    parser.add_argument("--samples", type=int, default=16)
    args = parser.parse_args()
    model, variables, config, _ = checkpoint.load(args.workdir)
    prepared = input_pipeline.open_dataset(config.data)
    spreads, errors, scores = [], [], []
    for i, batch in enumerate(input_pipeline.evaluation_batches(prepared, config.data, args.split, batch_size=2,
                                                                multiple=model.multiple, limit=args.limit)):
        stack, real = jnp.asarray(batch["sources"]), batch["weight"] > 0
        brain = brain_mask(objective.split_sources(stack))
        fresh, zero, mean, spread = decompositions(model, variables, stack, jax.random.key(i), args.samples)
        scores += [np.stack([[ssim(stack[..., m:m + 1], image[..., m:m + 1], mask=brain)[real]
                              for image in (fresh, zero, mean)] for m in range(stack.shape[-1])])]
        inside = np.asarray(brain[..., 0]) & real[:, None, None]
        spreads.append(np.asarray(spread)[inside])
        errors.append(np.asarray(mean - stack)[inside])
    spread, error, score = np.concatenate(spreads), np.concatenate(errors), np.concatenate(scores, -1).mean(-1)
    print(f"{args.workdir}, {args.split}: {len(spread)} brain pixels, {args.samples} samples\n")
    print("| modality | SSIM, fresh latent | latent 0 | mean of the samples | correlation of spread with error size |")
    print("|---|---|---|---|---|")
    for m, name in enumerate(prepared.modalities):
        correlation = np.corrcoef(spread[:, m], np.abs(error[:, m]))[0, 1]
        print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in (*score[m], correlation)) + " |")
    columns = [f"{name}, {what}" for name in prepared.modalities for what in ("spread", "error")]
    print("\n| part, by spread | " + " | ".join(columns) + " |")
    print("|---" * (1 + len(columns)) + "|")
    orders = [np.array_split(np.argsort(spread[:, m]), PARTS) for m in range(len(prepared.modalities))]
    for part in range(PARTS):
        cells = [f"{np.sqrt((values[order[part], m]**2).mean()):.4f}" for m, order in enumerate(orders)
                 for values in (spread, error)]
        print(f"| {part + 1} | " + " | ".join(cells) + " |")
    factors = np.sqrt((error**2).mean(0) / (spread**2).mean(0))
    print("\nerror / spread: " + ", ".join(f"{name} {factor:.2f}" for name, factor in zip(prepared.modalities, factors,
                                                                                       strict=True)))


if __name__ == "__main__":
    main()
