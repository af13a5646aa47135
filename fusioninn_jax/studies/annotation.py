"""The annotation of a study: the parts that its labels tell apart, and how they stand out in the fused image."""

from __future__ import annotations

import numpy as np

from fusioninn_jax.anatomy import regions
from fusioninn_jax.score_names import CONSPICUITY, MEAN, OVER_BEST, OVER_MEAN, of_part
from fusioninn_jax.scoring import lesion_scores


def tumour_parts(annotation: np.ndarray, file_name: str) -> dict[str, np.ndarray]:
    """The whole annotation, and the parts of a tumour where its labels tell them apart: name -> (Z, H, W) bool.

    Args:
      annotation: (Z, H, W) labels, 0 outside.
      file_name: of the annotation, which may tell whose labels these are.
    """
    whole = annotation > 0
    found = [int(value) for value in np.unique(annotation[whole]) if value == int(value)]
    collection = regions.collection_of(file_name, found)
    parts = {"whole annotation": whole}
    if collection is None or not np.isin(annotation[whole], found).all():
        return parts
    in_file = {ours: theirs for theirs, ours in regions.COLLECTIONS[collection].items()}
    named = {name: annotation == in_file[label] for name, label in regions.SCORED.items()}
    return parts | {name: mask for name, mask in named.items() if mask.any()}


def conspicuity(
    sources: np.ndarray, fused: np.ndarray, brain: np.ndarray, parts: dict[str, np.ndarray], labels: list[str]
) -> dict[str, dict[str, list[float]]]:
    """How the annotation and its parts stand out from the other brain, the pixels of all annotated slices pooled.

    Args:
      sources: (m, Z, H, W) in [0, 1].
      fused: (Z, H, W).
      brain: (Z, H, W).
      parts: as `tumour_parts`; the first is the whole annotation.
      labels: of the sources.

    Returns:
      {measure: {part: values}}; values of the fused image, the plain mean, each source, and how much farther from
      chance the fused image is than the best source and than the mean. {} without an annotation.
    """
    whole, *_ = parts.values()
    annotated = whole.any((1, 2))
    if not (whole & brain).any():
        return {}
    masks = [brain & ~whole, *[part & brain for part in parts.values()]]
    counts = lesion_scores.levels_in(
        [source[annotated, ..., None] for source in sources],
        fused[annotated, ..., None],
        [mask[annotated, ..., None] for mask in masks],
    )
    names = [f"part{i}" for i in range(len(parts))]
    of = lesion_scores.patient_scores(np.asarray(counts.sum(0)), names)
    values = ["", MEAN, *range(1, len(labels) + 1), OVER_BEST, OVER_MEAN]
    return {
        title: {
            part: [of[of_part(measure, name, value)] for value in values]
            for part, name in zip(parts, names, strict=True)
            if of_part(measure, name) in of
        }
        for measure, title in CONSPICUITY.items()
    }
