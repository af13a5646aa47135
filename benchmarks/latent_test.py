"""How far latents inside the brain are from N(0, I) and from independence of the fused image, a row a training.

    python benchmarks/latent_test.py runs/ours runs/official --split=test --limit=24

Pixels: the Kolmogorov-Smirnov distance of their values from N(0, 1). Patches of 3x3 pixels: unbiased MMD² to draws
from N(0, I) under a Gaussian kernel of median width (Gretton et al. 2012, "A kernel two-sample test", eq. 3), divided
by what two samples of one distribution stay below in 95 of 100 permutations: below 1 the test cannot tell them apart.
With a thousand patches it sees more than any use of the latent would; what counts is the order of the rows.
Independence: the share of the variance of z, |z| and z² that a regression explains on half of the pixels that it was
not fitted to; its features are the fused image's 3x3 patch, random waves of it and its deviation.
Place: the share of z's variance that the place within cells of 16x16 pixels explains. Such a fixed pattern can look
normal, and uncorrelated between neighbours, to all the other columns.
"""

import argparse

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from fusioninn_jax import input_pipeline, objective
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.models.padding import pad_slices
from fusioninn_jax.training import checkpoint

PATCH = 3
CELL = 16
PERMUTATIONS = 200
WAVES = 100  # random features of the regression


def windows(image):
    """(B, H, W, C) -> (B, H - 2, W - 2, C, 9) patches about the inner pixels."""
    cut = np.lib.stride_tricks.sliding_window_view(image, (PATCH, PATCH), (1, 2))
    return cut.reshape(*cut.shape[:-2], PATCH**2)


def latents_inside(workdir, split, limit):
    """Of patches wholly inside the brain: latents (N, C, 9), fused image (N, 9); all latents inside and outside; of
    each batch what its place explains."""
    model, variables, config, *_ = checkpoint.load(workdir, "last")
    prepared = input_pipeline.open_dataset(config.data)
    fuse, patches, pictures, inside, outside, places = jax.jit(model.fuse), [], [], [], [], []
    for batch in input_pipeline.evaluation_batches(prepared, config.data, split, batch_size=4, limit=limit):
        stack = pad_slices(jnp.asarray(batch["sources"][batch["weight"] > 0]), model.multiple)
        sources = objective.split_sources(stack)
        fused, latent = map(np.asarray, fuse(variables, *sources))
        brain = np.asarray(brain_mask(sources))
        whole = windows(brain)[..., 0, :].all(-1)
        patches.append(windows(latent)[whole])
        pictures.append(windows(fused)[whole][:, 0])
        inside.append(latent[brain[..., 0]])
        outside.append(latent[~brain[..., 0]])
        places.append(explained_by_place(latent, brain))
    return [
        *(np.concatenate(parts).astype(np.float64) for parts in (patches, pictures, inside, outside)),
        np.mean(places),
    ]


def explained_by_place(latent, brain):
    """The largest share, over the latents, of the variance that the place in a cell explains, less that of chance.

    Args:
      latent: (B, H, W, C).
      brain: (B, H, W, 1) bool.
    """
    rows, columns = np.indices(latent.shape[1:3]) % CELL
    place = np.broadcast_to(rows * CELL + columns, brain.shape[:3])[brain[..., 0]]
    values = latent[brain[..., 0]].astype(np.float64)
    count = np.maximum(np.bincount(place, minlength=CELL**2), 1)
    means = np.stack([np.bincount(place, of, CELL**2) / count for of in values.T], 1)
    within = ((values - means[place]) ** 2).sum(0) / (len(values) - CELL**2)
    return (1 - within / values.var(0, ddof=1)).max()


def correlations(patches):
    """The largest size of a correlation: of neighbours (up to one pixel away), and of different latents there."""
    count, channels = patches.shape[:2]
    found = np.corrcoef(patches.reshape(count, -1).T).reshape(channels, PATCH**2, channels, PATCH**2)
    of_centre = np.abs(found[:, PATCH**2 // 2])  # (C, C, 9)
    own = np.stack([of_centre[c, c] for c in range(channels)])
    own[:, PATCH**2 // 2] = 0
    other = of_centre[~np.eye(channels, dtype=bool)]
    return own.max(), other.max(initial=0.0)


def explained(patches, pictures, generator):
    """The largest share, over the latents, of the variance of z, |z| and z² that the picture explains."""
    mean = pictures.mean(1, keepdims=True)
    scaled = np.concatenate([mean / pictures.std(), (pictures - mean) / (pictures - mean).std()], 1)
    waves = np.cos(scaled @ generator.standard_normal((PATCH**2 + 1, WAVES)) + generator.uniform(0, 2 * np.pi, WAVES))
    features = np.concatenate([np.ones_like(mean), scaled, pictures.std(1, keepdims=True), waves], 1)
    fitted = generator.random(len(features)) < 0.5
    shares = []
    for test in (lambda z: z, np.abs, np.square):
        wanted = test(patches[:, :, PATCH**2 // 2])
        weights = np.linalg.lstsq(features[fitted], wanted[fitted], rcond=None)[0]
        rest = wanted[~fitted] - features[~fitted] @ weights
        shares.append((1 - (rest**2).mean(0) / wanted[~fitted].var(0)).max())
    return shares


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
    print(
        "| training | mean | std | excess kurtosis | KS distance | MMD² of patches / 95 % quantile of chance | "
        "neighbours | other latents | explained of z | of size of z | of z² | by place | outside: mean | std |"
    )
    print("|---" * 14 + "|")
    for workdir in args.workdirs:
        patches, pictures, inside, outside, place = latents_inside(workdir, args.split, args.limit)
        generator, pixels = np.random.default_rng(0), inside.ravel()
        chosen = patches[generator.choice(len(patches), min(args.patches, len(patches)), replace=False)]
        ratio = mmd_ratio(chosen.reshape(len(chosen), -1), generator)
        cells = (
            pixels.mean(),
            pixels.std(),
            stats.kurtosis(pixels),
            stats.kstest(pixels, "norm").statistic,
            ratio,
            *correlations(patches),
            *explained(patches, pictures, generator),
            place,
            outside.mean(),
            outside.std(),
        )
        print(f"| {workdir} | " + " | ".join(f"{value:.3f}" for value in cells) + " |", flush=True)


if __name__ == "__main__":
    main()
