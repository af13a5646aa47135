"""A stroke in pairs that the shipped model was not trained on: how its lesion stands out, and what comes back.

    python benchmarks/stroke.py FOLDER       # that holds *_adc.nii.gz, *_dwi.nii.gz, *_flair.nii.gz and *_seg.nii.gz

A row a pair, as it is and with ADC as its negative (`fuse --invert`): AUC of grey value, lesion against other brain,
all slices with lesion pooled, in both sources (a negative as it is fused), their mean and the fused image of 8 bits;
then the decomposed SSIM inside the brain of both, from these 8 bits and fresh noise, of the sources as they were.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import jax.numpy as jnp
import numpy as np
from scipy.stats import mannwhitneyu

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

from benchmarks import timing
from fusioninn_jax import metrics
from fusioninn_jax.anatomy.brain import inside
from fusioninn_jax.formats import files, negative
from fusioninn_jax.formats.series import Series
from fusioninn_jax.studies import fusing, study_negatives
from fusioninn_jax.trained_model import TrainedModel

PAIRS = (("adc", "flair"), ("dwi", "adc"))
HEADINGS = ("pair", "first", "second", "mean", "fused", "first, back", "second, back")


def unit(values: np.ndarray, like: np.ndarray | None = None) -> np.ndarray:
    """(Z, H, W) with each slice in [0, 1], or scaled as that brings the slices of `like` there."""
    like = values if like is None else like
    low, high = like.min((1, 2), keepdims=True), like.max((1, 2), keepdims=True)
    return (values - low) / np.where(high > low, high - low, 1)


def row(trained: TrainedModel, pair: list[Series], lesion: np.ndarray, inverted: tuple[int, ...]) -> list[float]:
    """AUC in both sources, their mean and the fused image, then the SSIM of both with what comes back."""
    values = [source.values for source in pair]
    brain = inside(np.stack(values), 0)[0]
    fusion = fusing.fuse(trained, pair, files.FLOAT, inverted=inverted, names=("first", "second"))
    fused = np.rint(np.clip(np.asarray(fusion.volume.fused), 0, 1) * 255) / 255
    turned = study_negatives.negated(values, study_negatives.find_all(values, inverted, ("first", "second")))
    images = [*map(unit, turned), sum(map(unit, turned)) / 2, fused]
    other = brain & ~lesion & lesion.any((1, 2), keepdims=True)
    seen = [mannwhitneyu(image[lesion], image[other]).statistic / lesion.sum() / other.sum() for image in images]
    image = fusion.image._replace(stored=fused.astype(np.float32))
    back = study_negatives.restored(
        fusion.record, fusing.decompose(trained, fusing.as_volume(trained, image, fusion.record), 0)
    )
    return [*seen, *(_similarity(*of, brain, lesion.any((1, 2))) for of in zip(values, back, strict=True))]


def _similarity(source: np.ndarray, back: np.ndarray, brain: np.ndarray, chosen: np.ndarray) -> float:
    """SSIM inside the brain, mean over the chosen slices, both in the range of the source's slice."""
    images = [unit(source), unit(back, source)]
    scores = metrics.decomposition_ssim(
        *(jnp.asarray(of[chosen, ..., None], jnp.float32) for of in images), mask=jnp.asarray(brain[chosen, ..., None])
    )
    return float(np.mean(scores))


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--checkpoint", help="folder of a model; default: the one that ships")
    args = parser.parse_args()
    found = {kind: next(args.folder.glob(f"*_{kind}.nii.gz")) for kind in ("adc", "dwi", "flair", "seg")}
    read = {kind: files.read(path) for kind, path in found.items()}
    trained, lesion = fusing.load(args.checkpoint), read["seg"].stored > 0
    rows = []
    for pair in PAIRS:
        for inverted in ((), (pair.index("adc") + 1,)):
            name = " + ".join(kind.upper() for kind in pair) + (
                f", {negative.OPTION} {inverted[0]}" if inverted else ""
            )
            scores = row(trained, [read[kind] for kind in pair], lesion, inverted)
            rows.append([name, *(f"{score:.3f}" for score in scores)])
    timing.print_table(list(HEADINGS), rows)


if __name__ == "__main__":
    main()
