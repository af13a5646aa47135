"""Pictures of results, as arrays."""

from __future__ import annotations

import numpy as np


def _stretched(images: np.ndarray) -> np.ndarray:
    """(N, H, W) latents to [0, 1], ±3 deviations about the mean of each image."""
    mean, std = images.mean((1, 2), keepdims=True), images.std((1, 2), keepdims=True)
    return np.clip((images - mean) / np.where(std > 0, std, 1) / 6 + 0.5, 0, 1)


def panel(examples: dict[str, np.ndarray]) -> np.ndarray:
    """A row an example: its sources, fused image, latents and decomposed sources, side by side.

    Args:
      examples: `sources` (N, H, W, M), `fused` (N, H, W, 1), and where the system has them `latent` (N, H, W, m - 1)
        and `decomposed` (N, H, W, M).

    Returns:
      (N · H, columns · W, 1) in [0, 1].
    """

    def columns(name: str) -> list[np.ndarray]:
        images = examples.get(name)
        return [] if images is None else [images[..., i] for i in range(images.shape[-1])]

    latents = [_stretched(image) for image in columns("latent")]
    row = [*columns("sources"), *columns("fused"), *latents, *columns("decomposed")]
    return np.clip(np.concatenate([np.concatenate(list(column)) for column in row], axis=1), 0, 1)[..., None]
