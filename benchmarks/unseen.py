"""Simulated patients whose numbers no training of the package has taken, for pictures of the model that ships."""

from __future__ import annotations

import numpy as np

from fusioninn_jax import phantom

FIRST = 1000  # the large phantom, which that model saw, ends before it


def patient(place: int) -> tuple[np.ndarray, np.ndarray]:
    """All slices of one: sources (N, H, W, 2) in [0, 1], and labels (N, H, W)."""
    subject = phantom.simulate_subject(0, FIRST + place, size=240, spacing=1.0, lesion_slices=8, other_slices=2)
    sources = np.maximum(subject.sources, 0)
    low, high = sources.min((1, 2), keepdims=True), sources.max((1, 2), keepdims=True)
    return ((sources - low) / np.maximum(high - low, 1)).astype(np.float32), subject.mask[..., 0]
