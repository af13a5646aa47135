"""How conspicuous the parts of a tumour are in the images of a split, patient by patient.

The pixels of a patient's annotated slices are pooled, as 8-bit grey levels: a slice may hold three pixels of a part,
which say little by themselves. What a part is compared with is the other brain of those slices.

The parts are those in `regions.SCORED`, the scores' names those of `score_names.of_part`, the measures those of
`metrics.conspicuity`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax.anatomy import regions
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.metrics import conspicuity
from fusioninn_jax.score_names import MEAN, OVER_BEST, OVER_MEAN, of_part
from fusioninn_jax.scoring.statistics import BOOTSTRAP_SEED, bootstrap_interval

MEASURES = {
    "auc": ("auc", conspicuity.auc_of_levels),
    "cnr": ("contrast_to_noise", conspicuity.contrast_to_noise_of_levels),
}
Scores = dict[str, float]
Array = jax.Array | np.ndarray


def count_levels(sources: tuple[jax.Array, ...], fused: jax.Array, labels: jax.Array) -> jax.Array:
    """Grey levels of the other brain and of each part, in the fused image, the sources' mean and each source.

    Args:
      sources: m images (B, H, W, 1) in [0, 1].
      fused: the same shape; clipped to [0, 1].
      labels: the same shape, as in `regions`; an image without any label counts nothing.

    Returns:
      (B, 2 + m, 1 + parts, 256) int32.
    """
    annotated = (labels != 0).any((1, 2, 3), keepdims=True)
    other = conspicuity.other_brain(brain_mask(sources), labels) & annotated
    masks = [other, *[labels == label for label in regions.SCORED.values()]]
    return levels_in(sources, fused, masks)


def levels_in(sources: Sequence[Array], fused: Array, masks: Sequence[Array]) -> jax.Array:
    """Grey levels inside each mask of the fused image, the sources' mean and each source.

    Args:
      sources: m images (B, H, W, 1) in [0, 1].
      fused: the same shape.
      masks: the same shape, true where a pixel counts: the other brain first.

    Returns:
      (B, 2 + m, masks, 256) int32.
    """
    images = [fused, sum(sources[1:], sources[0]) / len(sources), *sources]
    return jnp.stack([jnp.stack([conspicuity.grey_levels(image, mask) for mask in masks], 1) for image in images], 1)


class PatientLevels:
    """The counts of `count_levels`, added up patient by patient."""

    def __init__(self) -> None:
        self._counts: dict[str, np.ndarray] = {}

    def add(self, subjects: Sequence[str], counts: np.ndarray) -> None:
        """Adds `counts` (B, 2 + m, 1 + parts, 256) of B images; `subjects` are their patients."""
        for subject, of_image in zip(subjects, counts, strict=True):
            self._counts[subject] = self._counts.get(subject, 0) + of_image.astype(np.int64)

    def sums(self) -> dict[str, list[Any]]:
        """What was added up so far, to be sent to another process."""
        return {subject: counts.tolist() for subject, counts in self._counts.items()}

    def add_sums(self, sums: dict[str, list[Any]]) -> None:
        """Adds `sums`, what another process added up."""
        for subject, counts in sums.items():
            self.add([subject], np.array(counts)[None])

    def summary(self, parts: Collection[str]) -> dict[str, Any]:
        """Each patient's scores, and over the patients the mean, its interval, and the worst.

        A score is missing where a patient has no pixel of that part.

        Args:
          parts: out of `regions.SCORED`, those that the dataset's labels stand for.

        Returns:
          {"subjects": {subject: {score: value}}, "overall": {score: {"mean", "low", "high", "worst",
          "worst_subject"}}}; {} where no patient has any of the parts.
        """
        subjects = {
            subject: patient_scores(counts, [part if part in parts else "" for part in regions.SCORED])
            for subject, counts in sorted(self._counts.items())
        }
        subjects = {subject: found for subject, found in subjects.items() if found}
        names = list(dict.fromkeys(name for found in subjects.values() for name in found))
        overall = {
            name: _over_patients(name, {subject: found[name] for subject, found in subjects.items() if name in found})
            for name in names
        }
        return {"subjects": subjects, "overall": overall} if names else {}


def patient_scores(counts: np.ndarray, parts: Sequence[str]) -> Scores:
    """The scores of one patient.

    Args:
      counts: (2 + m, 1 + parts, 256), as `levels_in` orders them.
      parts: the names of what is compared with the other brain, "" for what is to be left out.

    Returns:
      {score: value}, of the parts that the patient has.
    """
    scores: Scores = {}
    for place, part in enumerate(parts, 1):
        if not part or not counts[0, place].any() or not counts[0, 0].any():
            continue
        for short, (measure, of_levels) in MEASURES.items():
            fused, mean, *sources = of_levels(counts[:, place], counts[:, 0])
            found = conspicuity.relative(fused, jnp.stack(sources), mean, chance=conspicuity.CHANCE[measure])
            named: dict[int | str, jax.Array] = {
                "": found.fused,
                **dict(enumerate(found.sources, 1)),
                MEAN: found.mean,
                OVER_BEST: found.over_best,
                OVER_MEAN: found.over_mean,
            }
            scores |= {of_part(short, part, of): float(value) for of, value in named.items()}
    return scores


def _over_patients(name: str, values: dict[str, float]) -> dict[str, Any]:
    """Mean over patients with its bootstrap interval, and the patient in whom the part stands out least."""
    interval = bootstrap_interval(list(values.values()), seed=BOOTSTRAP_SEED)
    signed = name.endswith((OVER_BEST, OVER_MEAN))
    chance = conspicuity.CHANCE[MEASURES[name.partition("_")[0]][0]]

    def distance(subject: str) -> float:
        return values[subject] if signed else abs(values[subject] - chance)

    worst = min(values, key=distance)
    return interval._asdict() | {"worst": values[worst], "worst_subject": worst}
