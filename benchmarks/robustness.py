"""What the decomposition survives of what happens to pictures, for the shipped model or a training.

    python benchmarks/robustness.py                      # the model that ships
    python benchmarks/robustness.py --workdir=runs/x

A row for each thing that may happen to the fused image between `fuse` and `decompose`: SSIM inside the brain of both
decomposed sources, mean over the patients and the worst one, and the mean's loss against the 8 bits of a PNG. Patients
and slices are those of benchmarks/conspicuity.py. Where a picture was cropped, shifted or flipped, so are the sources
that it is compared with, and what was cut away does not count.
"""

import argparse
import io
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import jax.numpy as jnp
import numpy as np
from conspicuity import find_patients, read_patient
from PIL import Image

from fusioninn_jax import metrics, objective, pretrained
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.runtime import errors
from fusioninn_jax.storage import store

SEED = 0


def noise(levels):
    """Uniform noise of ±`levels` grey levels, then 8 bits."""

    def add(image):
        drawn = np.random.default_rng(SEED).integers(-levels, levels + 1, image.shape)
        return np.clip(np.round(255 * np.clip(image, 0, 1)) + drawn, 0, 255) / 255

    return add


def jpeg(quality):
    """Through a JPEG file."""

    def through(image):
        pictures = []
        for plane in np.round(255 * np.clip(image[..., 0], 0, 1)).astype(np.uint8):
            file = io.BytesIO()
            Image.fromarray(plane).save(file, "JPEG", quality=quality)
            pictures.append(np.asarray(Image.open(file), np.float32) / 255)
        return np.stack(pictures)[..., None]

    return through


def rescaled(factor, offset):
    """Window and level: grey values linearly changed, kept in 8 bits, and changed back."""

    def change(image):
        return (np.round(255 * np.clip(factor * image + offset, 0, 1)) / 255 - offset) / factor

    return change


def resized(image):
    """Doubled and halved again, both by Pillow's bicubic interpolation."""
    pictures = []
    for plane in np.clip(image[..., 0], 0, 1).astype(np.float32):
        height, width = plane.shape
        large = Image.fromarray(plane).resize((2 * width, 2 * height), Image.Resampling.BICUBIC)
        pictures.append(np.asarray(large.resize((width, height), Image.Resampling.BICUBIC)))
    return store(np.stack(pictures)[..., None], 8)


def bits(count):
    """Rounded to so many bits."""
    return lambda image: store(image, count)


# name -> (what happens to the picture, what happens to picture and sources alike before it is cut or turned)
CHANGES = {
    "float": (lambda image: image, None),
    "8 bits": (bits(8), None),
    "12 bits": (bits(12), None),
    "16 bits": (bits(16), None),
    "±1 level of noise": (noise(1), None),
    "±2 levels of noise": (noise(2), None),
    "JPEG 95": (jpeg(95), None),
    "JPEG 85": (jpeg(85), None),
    "grey values · 0.9 and back": (rescaled(0.9, 0.0), None),
    "· 0.5 + 0.2 and back": (rescaled(0.5, 0.2), None),
    "doubled and halved": (resized, None),
    "shifted by one pixel each way": (bits(8), lambda x: x[:, 1:-15, 1:-15]),
    "cropped by 16": (bits(8), lambda x: x[:, 16:-16, 16:-16]),
    "flipped left to right": (bits(8), lambda x: x[:, :, ::-1]),
}


def make_scores(trained):
    """`(sources, change, geometry) -> SSIM inside the brain of each decomposed source`."""
    fuse, decompose = jax.jit(trained.model.fuse), jax.jit(trained.model.decompose)

    def scores(stack, change, geometry):
        fused, latent = fuse(trained.variables, *objective.split_sources(jnp.asarray(stack)))
        image = change(np.asarray(fused))
        if geometry:
            image, stack = geometry(image), geometry(stack)
        keys = jax.random.split(jax.random.key(SEED), len(stack))
        like = jnp.zeros((*image.shape[:3], latent.shape[-1]))
        back = decompose(
            trained.variables, jnp.asarray(image, jnp.float32), objective.draw_latents(keys, trained.prior, like)
        )
        sources = objective.split_sources(jnp.asarray(stack))
        mask = brain_mask(sources)
        return [
            float(metrics.decomposition_ssim(source, found, mask=mask).mean())
            for source, found in zip(sources, back, strict=True)
        ]

    return scores


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", default="pretrained", help="of a training, or of a model of two files")
    parser.add_argument("--checkpoint", choices=("best", "last"), default="best")
    parser.add_argument("--folder", default=os.environ.get("FUSIONINN_REALDATA", "."), help="of annotated patients")
    parser.add_argument("--patients", default="", help="names joined by commas; all where empty")
    parser.add_argument("--modalities", nargs="+", default=["t1gd", "flair"])
    parser.add_argument("--slices", type=int, default=6, help="of each patient, those with most tumour")
    args = parser.parse_args()
    trained = pretrained.load_any(args.workdir, args.checkpoint)
    scores, patients = make_scores(trained), find_patients(args, args.modalities)
    stacks = [read_patient(patient, args.modalities, args.slices)[0] for patient in patients]
    print(
        f"{len(patients)} patients, {args.slices} slices each; SSIM inside the brain, "
        f"{' / '.join(args.modalities)}\n\n| what happens to the picture | mean | worst patient |\n|---|---|---|"
    )
    for name, (change, geometry) in CHANGES.items():
        table = np.array([scores(stack, change, geometry) for stack in stacks])
        print(
            f"| {name} | {' / '.join(f'{value:.3f}' for value in table.mean(0))} | "
            f"{' / '.join(f'{value:.3f}' for value in table.min(0))} |",
            flush=True,
        )


if __name__ == "__main__":
    errors.cli(lambda argv=None: main())
