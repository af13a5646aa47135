"""Does the spread over fresh latents tell how wrong a decomposed pixel is? Before and after calibration.

    python benchmarks/uncertainty.py --workdir=runs/brats --split=test --limit=24 --samples=16 --plot=reliability.png

The fused image is stored in 8 bits. The calibration is learnt on the validation split and tried on `--split`: the share
of brain pixels in the intervals of 50, 80 and 95 %, patient by patient; then brain pixels sorted by their calibrated
deviation into ten equal parts, with the root of the mean squared error beside the deviation of each, and beside the
bare spread. `--plot` draws both, a reliability diagram and the ten parts. With `--points`, SSIM inside the brain of one
decomposition with a fresh latent, of the one with latent 0 and of the mean over the samples.
"""

import argparse
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from fusioninn_jax import input_pipeline, objective, storage, volumes
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.scoring import uncertainty
from fusioninn_jax.ssim import ssim
from fusioninn_jax.trained_model import calibration
from fusioninn_jax.training import checkpoint

PARTS = 10


def point_estimates(trained, prepared, split, limit, samples):
    """SSIM inside the brain, (m, 3): with a fresh latent, latent 0, the mean of the samples; means over slices."""
    model, variables, scores = trained.model, trained.variables, []
    batches = input_pipeline.evaluation_batches(prepared, trained.config.data, split, batch_size=1, limit=limit)
    for i, batch in enumerate(batches):
        stack = jnp.asarray(batch["sources"])
        sources, key = objective.split_sources(stack), jax.random.key(i)
        fused, latent = jax.jit(any_size(model).fuse)(variables, *sources)
        units = jnp.broadcast_to(jnp.array([0.0, 1.0]), (1, stack.shape[-1], 2))
        stored = volumes.from_fused(storage.store(fused[..., 0], 8), units, model.multiple)
        zero = dataclasses.replace(stored, latent=jnp.zeros_like(latent))
        estimates = (
            volumes.decompose_volume(model, variables, stored, key=key),
            volumes.decompose_volume(model, variables, zero),
            volumes.decompose_samples(model, variables, stored, key=key, samples=samples)[0],
        )
        scores.append(
            [
                [ssim(source, image[m][..., None], mask=brain_mask(sources))[0] for image in estimates]
                for m, source in enumerate(sources)
            ]
        )
    return np.mean(scores, 0)


def parts(values, error):
    """(PARTS, 2): root mean square of the values and of the errors, in parts of equal number sorted by value."""
    order = np.array_split(np.argsort(values), PARTS)
    return np.array([[np.sqrt((x[part] ** 2).mean()) for x in (values, error)] for part in order])


def print_parts(modalities, spread, deviation, error):
    """A table of `parts` for each modality, by the bare spread and by the calibrated deviation."""
    heads = [f"{name}, {what}" for name in modalities for what in ("spread", "error", "calibrated", "error")]
    print(f"\n| part | {' | '.join(heads)} |\n" + "|---" * (1 + len(heads)) + "|")
    columns = np.concatenate(
        [parts(by[:, m], error[:, m]) for m in range(len(modalities)) for by in (spread, deviation)], 1
    )
    for part, row in enumerate(columns, 1):
        print(f"| {part} | " + " | ".join(f"{value:.4f}" for value in row) + " |")


def plot(path, fitted, pixels, modalities):
    """A reliability diagram for each modality, a line a patient, and the error in each part beside its deviation."""
    figure = Figure(figsize=(9, 4.5 * len(modalities)), layout="constrained")
    deviation = fitted.deviation(pixels.spread)
    for m, (name, axes) in enumerate(zip(modalities, figure.subplots(len(modalities), 2, squeeze=False), strict=True)):
        for subject in np.unique(pixels.subjects):
            chosen = pixels.subjects == subject
            shares = calibration.coverage(fitted, pixels.spread[chosen], pixels.error[chosen])[:, m]
            axes[0].plot(calibration.LEVELS, shares, "o-", label="one patient")
        axes[0].plot([0, 1], [0, 1], "k:")
        axes[0].set(xlabel="probability of the interval", ylabel="share of pixels in it", title=name)
        of_parts = parts(deviation[:, m], pixels.error[:, m])
        axes[1].loglog(*of_parts.T, "o-")
        axes[1].loglog(of_parts[[0, -1], 0], of_parts[[0, -1], 0], "k:")
        axes[1].set(xlabel="calibrated deviation", ylabel="root of the mean squared error", title=name)
    figure.savefig(path, dpi=130)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True)
    parser.add_argument("--split", default="test")
    parser.add_argument("--limit", type=int, default=24, help="slices of each split")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--plot", help="a file for the diagrams, .png or .svg")
    parser.add_argument("--points", action="store_true", help="SSIM of three point estimates too")
    args = parser.parse_args()
    trained = checkpoint.load(args.workdir)
    prepared = input_pipeline.open_dataset(trained.config.data)
    known, new = (
        uncertainty.collect(trained, prepared, split, samples=args.samples, limit=args.limit)
        for split in ("validation", args.split)
    )
    fitted = calibration.fit(known.spread, known.error)
    print(f"{args.workdir}, {args.split}: {len(new.spread)} brain pixels, {args.samples} samples\n")
    print(uncertainty.coverage_table(fitted, new, prepared.modalities))
    print_parts(prepared.modalities, new.spread, fitted.deviation(new.spread), new.error)
    factors = np.sqrt((new.error**2).mean(0) / (new.spread**2).mean(0))
    print(
        "\nerror / spread: "
        + ", ".join(f"{name} {factor:.2f}" for name, factor in zip(prepared.modalities, factors, strict=True))
    )
    if args.points:
        print("\n| modality | SSIM, fresh latent | latent 0 | mean of the samples |\n|---|---|---|---|")
        for name, row in zip(
            prepared.modalities, point_estimates(trained, prepared, args.split, args.limit, args.samples), strict=True
        ):
            print(f"| {name} | " + " | ".join(f"{value:.4f}" for value in row) + " |")
    if args.plot:
        plot(args.plot, fitted, new, prepared.modalities)


if __name__ == "__main__":
    main()
