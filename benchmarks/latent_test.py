"""How far latents inside the brain are from N(0, I): two-sample tests of pixels and of patches, a row a training.

    python benchmarks/latent_test.py runs/ours runs/official --split=test --limit=24

Pixels: the Kolmogorov-Smirnov distance of their values from N(0, 1). Patches of 3x3 pixels: unbiased MMD² to draws
from N(0, I) under a Gaussian kernel of median width (Gretton et al. 2012, "A kernel two-sample test", eq. 3), divided
by what two samples of one distribution stay below in 95 of 100 permutations: below 1 the test cannot tell them apart.
With a thousand patches it sees more than any use of the latent would; what counts is the order of the rows.
"""
import argparse

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from fusioninn_jax import input_pipeline, objective
from fusioninn_jax.brain import brain_mask
from fusioninn_jax.training import checkpoint

PATCH = 3
PERMUTATIONS = 200


def latents_inside(workdir, split, limit):
    """All (pixels,) values and (patches, 9) patches that lie wholly inside the brain, channels one by one."""
    model, variables, config, _ = checkpoint.load(workdir, "last")
    prepared = input_pipeline.open_dataset(config.data)
    fuse, pixels, patches = jax.jit(model.fuse), [], []
    for batch in input_pipeline.evaluation_batches(prepared, config.data, split, batch_size=4, limit=limit,
                                                   multiple=model.multiple):
        sources = objective.split_sources(jnp.asarray(batch["sources"][batch["weight"] > 0]))
        latent, brain = np.asarray(fuse(variables, *sources)[1]), np.asarray(brain_mask(sources))
        pixels.append(latent[np.broadcast_to(brain, latent.shape)])
        windows = np.lib.stride_tricks.sliding_window_view(latent, (PATCH, PATCH), (1, 2))[:, ::PATCH, ::PATCH]
        inside = np.lib.stride_tricks.sliding_window_view(brain, (PATCH, PATCH), (1, 2))[:, ::PATCH, ::PATCH]
        whole = np.broadcast_to(inside.all((-1, -2)), windows.shape[:-2])
        patches.append(windows[whole].reshape(-1, PATCH * PATCH))
    return np.concatenate(pixels).astype(np.float64), np.concatenate(patches).astype(np.float64)


def mmd_ratio(sample, generator):
    """MMD² to N(0, I) over the 95 % quantile of its permutations; `sample` is (n, d)."""
    count = len(sample)
    both = np.concatenate([sample, generator.standard_normal(sample.shape)])
    squares = (both**2).sum(1)
    distances = np.maximum(squares[:, None] + squares - 2 * both @ both.T, 0)
    kernel = np.exp(-distances / np.median(distances))
    np.fill_diagonal(kernel, 0)

    def mmd(first):
        to_first = kernel @ first
        within, across = first @ to_first + kernel.sum() - 2 * to_first.sum() + first @ to_first, (1 - first) @ to_first
        return within / (count * (count - 1)) - 2 * across / count**2
    first = np.repeat([1.0, 0.0], count)
    null = [mmd(generator.permutation(first)) for _ in range(PERMUTATIONS)]
    return mmd(first) / np.quantile(null, 0.95)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workdirs", nargs="+")
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=24, help="slices")
    parser.add_argument("--patches", type=int, default=1000)
    args = parser.parse_args()
    print("| training | mean | std | excess kurtosis | KS distance | MMD² of patches / 95 % quantile of chance |")
    print("|---|---|---|---|---|---|")
    for workdir in args.workdirs:
        pixels, patches = latents_inside(workdir, args.split, args.limit)
        generator = np.random.default_rng(0)
        chosen = patches[generator.choice(len(patches), min(args.patches, len(patches)), replace=False)]
        cells = (pixels.mean(), pixels.std(), stats.kurtosis(pixels), stats.kstest(pixels, "norm").statistic,
                 mmd_ratio(chosen, generator))
        print(f"| {workdir} | " + " | ".join(f"{value:.3f}" for value in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
