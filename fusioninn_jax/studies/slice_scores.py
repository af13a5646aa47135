"""Scores of a study slice by slice, inside the brain: the five fusion metrics, and the SSIM of what comes back."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import metrics
from fusioninn_jax.scoring.image_scores import TABLE1, TITLES

SMALLEST = 11  # pixels a side: the window of SSIM and Q_P
MIN_BRAIN = 0.05  # of a slice's pixels, for it to be scored
WORSE = "SSIM, the worse of the sources and fused"


def titles(labels: Sequence[str]) -> list[str]:
    """The names of the scores of a study whose sources have these `labels`, in the order of the page.

    Fusion metrics are among them where there are two sources.
    """
    return (
        ([TITLES[name] for name in TABLE1] if len(labels) == 2 else [])
        + [f"SSIM, {label} and {what}" for what in ("fused", "decomposed") for label in labels]
        + [WORSE]
    )


def make_score(labels: Sequence[str]) -> jax.stages.Wrapped:
    """A jitted `(sources, fused, decomposed, brain) -> {title: (B,)}` for sources of these `labels`.

    Its arguments: sources and decomposed (m, B, H, W, 1) in [0, 1], fused (B, H, W, 1), brain (B, H, W, 1) bool.
    """

    @jax.jit
    def score(sources: jax.Array, fused: jax.Array, decomposed: jax.Array, brain: jax.Array) -> dict[str, jax.Array]:
        result = {WORSE: metrics.fairness(*sources, fused, mask=brain)}
        for name in TABLE1 if len(labels) == 2 else ():
            image = fused if name == "q_ssim" else jnp.clip(fused, 0, 1)
            result[TITLES[name]] = getattr(metrics, name)(sources[0], sources[1], image, mask=brain)
        for label, source, back in zip(labels, sources, decomposed, strict=True):
            result[f"SSIM, {label} and fused"] = metrics.decomposition_ssim(source, fused, mask=brain)
            result[f"SSIM, {label} and decomposed"] = metrics.decomposition_ssim(source, back, mask=brain)
        return result

    return score


def is_scored(brain: np.ndarray) -> np.ndarray:
    """(Z,) bool: the slices of a `brain` mask, (Z, H, W), with at least 5 % brain."""
    return brain.mean((1, 2)) >= MIN_BRAIN


def means(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean of each of the `scores`, (Z,), over the slices that have one; {} where none has."""
    return {name: float(np.nanmean(values)) for name, values in scores.items() if np.isfinite(values).any()}
