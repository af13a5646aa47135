"""The pictures of docs/gallery.md, and the table beside them: a simulated patient that no training has seen, through
the model that ships.

python -m benchmarks.gallery docs/gallery
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import pathlib

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import fusioninn_jax
from benchmarks import unseen
from fusioninn_jax import metrics, models, pretrained
from fusioninn_jax.anatomy import brain, regions
from fusioninn_jax.metrics.conspicuity import other_brain
from fusioninn_jax.runtime import errors
from fusioninn_jax.storage import store
from fusioninn_jax.trained_model import TrainedModel

NAMES = ("T1-Gd", "FLAIR")
RULES = ("mean", "max", "laplacian_pyramid", "wavelet", "guided_filter", "salient_mean")
BITS = {"float": 0, "8 bits": 8, "6 bits": 6}
SAMPLES = 16
COLOURS = 128  # of a picture
GREY = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0}
ERROR = {"cmap": "magma", "vmin": 0.0, "vmax": 0.1}
Panel = tuple[str, np.ndarray, dict]


def chosen() -> tuple[np.ndarray, np.ndarray]:
    """The slice with most enhancing tumour: sources (2, H, W) in [0, 1], and its labels (H, W)."""
    sources, labels = unseen.patient(0)
    best = (labels == regions.ENHANCING).sum((1, 2)).argmax()
    return np.moveaxis(sources[best], -1, 0), labels[best]


def draw(path: pathlib.Path, rows: list[list[Panel]], window: tuple[slice, slice]) -> None:
    """Rows of panels: a title, an image (H, W) and how it is shown."""
    columns = max(map(len, rows))
    figure, axes = plt.subplots(
        len(rows), columns, figsize=(1.6 * columns, 2.0 * len(rows)), facecolor="black", squeeze=False
    )
    for axis in axes.flat:
        axis.axis("off")
    for row, places in zip(rows, axes, strict=True):
        for (title, image, style), place in zip(row, places, strict=False):
            place.imshow(image[window], **style)
            place.set_title(title, color="white", fontsize=8)
    figure.subplots_adjust(0.003, 0.003, 0.997, 1 - 0.14 / len(rows), 0.02, 0.12)
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=130, facecolor="black")
    plt.close(figure)
    Image.open(buffer).convert("RGB").quantize(COLOURS).save(path, optimize=True)


def fused_by_all(trained: TrainedModel, sources: np.ndarray) -> dict[str, np.ndarray]:
    """(H, W) by each rule and by the model."""
    pair = jnp.asarray(sources)[:, None, ..., None]
    fused = {name: np.asarray(models.get(name).fuse({"params": {}}, *pair)[0])[0, ..., 0] for name in RULES}
    volume = fusioninn_jax.fuse_volume(trained.model, trained.variables, *sources[:, None])
    return {name.replace("_", " "): image for name, image in fused.items()} | {"FusionINN": np.asarray(volume.fused)[0]}


def scores(images: dict[str, np.ndarray], sources: np.ndarray, labels: np.ndarray) -> list[dict[str, str]]:
    """A row an image: how the parts of the tumour stand out, and SSIM with each source inside the brain."""
    inside = brain.inside(np.moveaxis(sources, 0, -1)[None])
    other = other_brain(inside, labels[None, ..., None])
    rows = []
    for name, image in images.items():
        fused = jnp.asarray(store(jnp.asarray(image), 8))[None, ..., None]
        row = {"image": name}
        for part, label in (("oedema", regions.OEDEMA), ("enhancing tumour", regions.ENHANCING)):
            row[f"{part}: AUC"] = f"{float(metrics.auc(fused, labels[None, ..., None] == label, other)[0]):.3f}"
        for of, source in zip(NAMES, sources, strict=True):
            ssim = metrics.decomposition_ssim(source[None, ..., None], fused, mask=inside)
            row[f"SSIM with {of}"] = f"{float(ssim[0]):.3f}"
        rows.append(row)
    return rows


def stored(trained: TrainedModel, sources: np.ndarray) -> list[list[Panel]]:
    """A row a number of bits: the stored fused image, both sources back from it, and their errors."""
    volume = fusioninn_jax.fuse_volume(trained.model, trained.variables, *sources[:, None])
    rows = []
    for name, bits in BITS.items():
        kept = dataclasses.replace(volume, whole=store(volume.whole, bits), latent=None)
        back = fusioninn_jax.decompose_volume(trained.model, trained.variables, kept, key=jax.random.key(0))
        back = np.asarray(back)[:, 0]
        row: list[Panel] = [(f"fused, {name}", np.asarray(kept.fused)[0], GREY)]
        row += [(f"{of}, back", image, GREY) for of, image in zip(NAMES, back, strict=True)]
        row += [(f"{of}, |error|", np.abs(a - b), ERROR) for of, a, b in zip(NAMES, back, sources, strict=True)]
        rows.append(row)
    return rows


def uncertain(trained: TrainedModel, sources: np.ndarray) -> list[list[Panel]]:
    """A row a source: it, the mean of its samples, their error, their spread."""
    volume = fusioninn_jax.fuse_volume(trained.model, trained.variables, *sources[:, None])
    kept = dataclasses.replace(volume, whole=store(volume.whole, 8), latent=None)
    mean, spread = fusioninn_jax.decompose_samples(
        trained.model, trained.variables, kept, key=jax.random.key(0), samples=SAMPLES
    )
    rows: list[list[Panel]] = []
    for i, name in enumerate(NAMES):
        average, deviation = np.asarray(mean)[i, 0], np.asarray(spread)[i, 0]
        top = {**ERROR, "vmax": float(np.quantile(deviation, 0.999))}
        rows.append(
            [
                (name, sources[i], GREY),
                (f"mean of {SAMPLES}", average, GREY),
                ("|error|", np.abs(average - sources[i]), ERROR),
                ("spread, own scale", deviation, top),
            ]
        )
    return rows


def main() -> int:
    """Draws the pictures and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path, help="a folder")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sources, labels = chosen()
    window = brain.bounding_box(brain.inside(sources, 0)[0], (0, 0))
    trained = pretrained.load()
    images = dict(zip(NAMES, sources, strict=True)) | fused_by_all(trained, sources)
    panels: list[Panel] = [(name, image, GREY) for name, image in images.items()]
    draw(args.out / "rules.png", [panels[:5], panels[5:]], window)
    draw(args.out / "bits.png", stored(trained, sources), window)
    draw(args.out / "uncertainty.png", uncertain(trained, sources), window)
    table = scores(images, sources, labels)
    with (args.out / "rules.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)
    return 0


if __name__ == "__main__":
    errors.cli(main)
