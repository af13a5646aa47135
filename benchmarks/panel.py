"""The picture of the README: simulated patients that no training has seen, through the model that ships.

python -m benchmarks.panel docs/panel.png
"""

from __future__ import annotations

import argparse

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from benchmarks import unseen
from fusioninn_jax import objective, pretrained
from fusioninn_jax.anatomy import brain
from fusioninn_jax.models.padding import pad_slices
from fusioninn_jax.runtime import errors
from fusioninn_jax.storage import store

TITLES = ("T1-Gd", "FLAIR", "fused", "latent", "T1-Gd, back", "FLAIR, back", "error · 5", "error · 5")


def chosen(count: int) -> np.ndarray:
    """(N, H, W, 2): of each of the first patients the slice with most tumour."""
    slices = []
    for sources, labels in map(unseen.patient, range(count)):
        slices.append(sources[(labels > 0).sum((1, 2)).argmax()])
    return np.stack(slices)


def images(stack: np.ndarray) -> list[np.ndarray]:
    """The columns of TITLES, each (N, H, W) in [0, 1]."""
    model, variables, *_ = pretrained.load()
    height, width = stack.shape[1:3]
    padded = pad_slices(jnp.asarray(stack), model.multiple)
    fused, latent = jax.jit(model.fuse)(variables, *objective.split_sources(padded))
    fresh = jax.random.normal(jax.random.key(0), latent.shape)
    back = jax.jit(model.decompose)(variables, store(fused, 8), fresh)
    sources = [padded[..., i : i + 1] for i in range(2)]
    error = [5 * jnp.abs(a - b) for a, b in zip(sources, back, strict=True)]
    columns = [*sources, fused, latent / 6 + 0.5, *back, *error]
    return [np.clip(np.asarray(column)[:, :height, :width, 0], 0, 1) for column in columns]


def main() -> int:
    """Draws the panel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="a PNG file")
    parser.add_argument("--patients", type=int, default=2)
    args = parser.parse_args()
    stack = chosen(args.patients)
    window = (slice(None), *brain.bounding_box(brain.inside(stack).any((0, -1)), (0, 0)))
    figure, axes = plt.subplots(len(stack), len(TITLES), figsize=(12, 1.75 * len(stack) + 0.2), facecolor="black")
    for axis, column, title in zip(np.atleast_2d(axes).T, images(stack), TITLES, strict=True):
        axis[0].set_title(title, color="white", fontsize=9)
        for place, image in zip(axis, column[window], strict=True):
            place.imshow(image, cmap="gray", vmin=0, vmax=1)
            place.axis("off")
    figure.subplots_adjust(0.002, 0.002, 0.998, 0.93, 0.02, 0.02)
    figure.savefig(args.out, dpi=130, facecolor="black")
    return 0


if __name__ == "__main__":
    errors.cli(main)
