"""The losses of FusionINN (arXiv 2403.15769, eqs. 2-5).

Images are (B, H, W, 1) in [0, 1]. A loss gives one value per image, (B,), and callers reduce. The losses of the latent,
scalars of the whole batch, are in `latent_losses` and `latent_losses.characteristic`.

`reduction` says how the paper or its code put the parts together (both kept, the code made the published numbers):
  official: mean over the sources; l2 = mean squared error.
  paper: sum over the sources; l2 = ‖·‖₂ of each image, not squared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fusioninn_jax import ssim as _ssim

REDUCTIONS = ("official", "paper")
BLACK = -2e-4  # what a fused image's background should not exceed
LATENT_PRIORS = ("normal", "zeros", "uniform", "ones")


def ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """Structural similarity per image, as `fusioninn_jax.ssim`.

    Args:
      a, b: (B, H, W, C), in [0, 1].

    Returns:
      (B,) in [-1, 1]; 1 for identical images.
    """
    return _ssim.ssim(a, b)


def l2(a: jax.Array, b: jax.Array, *, reduction: str = "official") -> jax.Array:
    """Squared-error loss per image.

    Args:
      a, b: (B, H, W, C).
      reduction: official: the mean squared error; paper: ‖a - b‖₂, eq. 3.

    Returns:
      (B,).
    """
    squares = (a - b) ** 2
    if reduction == "official":
        return squares.mean(axis=(1, 2, 3))
    total = squares.sum(axis=(1, 2, 3))
    # the norm's gradient at 0 is not defined; 0 is the one that keeps a perfect image where it is
    safe = jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, jnp.sqrt(safe), 0)


def similarity_loss(
    pairs: Sequence[tuple[jax.Array, jax.Array]],
    *,
    weight: float = 0.8,
    reduction: str = "official",
    known: Sequence[tuple[_ssim.Moments, _ssim.Moments]] | None = None,
) -> jax.Array:
    """λ · Σ (1 - SSIM(a, b)) + (1 - λ) · Σ l2(a, b) over the pairs, per image.

    Eqs. 2-3 with the pairs (source, fused), eq. 4 with (source, decomposed).

    Args:
      pairs: for each source, two (B, H, W, 1) images.
      weight: λ.
      reduction: 'official' takes the mean over the pairs, 'paper' the sum.
      known: for each pair the `ssim.moments` of its two images, which loss terms of the same images can share.

    Returns:
      (B,).

    Raises:
      ValueError: an unknown reduction.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction is {reduction!r}; it must be one of {', '.join(REDUCTIONS)}")
    of_pairs: Sequence[tuple[_ssim.Moments, _ssim.Moments] | None] = known or [None] * len(pairs)
    terms = jnp.stack(
        [
            weight * (1 - _ssim.ssim(a, b, known=of_pair)) + (1 - weight) * l2(a, b, reduction=reduction)
            for (a, b), of_pair in zip(pairs, of_pairs, strict=True)
        ]
    )
    return terms.mean(axis=0) if reduction == "official" else terms.sum(axis=0)


def sample_prior(prior: str, key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Draws a latent from the prior: N(0, 1), 0, U[0, 1) or 1 for each element (paper, Table 2).

    Args:
      prior: one of LATENT_PRIORS.
      key: of the draw.
      shape: of the latent.
      dtype: of the latent.

    Raises:
      ValueError: an unknown prior.
    """
    if prior not in LATENT_PRIORS:
        raise ValueError(f"latent prior is {prior!r}; it must be one of {', '.join(LATENT_PRIORS)}")
    if prior == "normal":
        return jax.random.normal(key, shape, dtype)
    if prior == "uniform":
        return jax.random.uniform(key, shape, dtype)
    return jnp.full(shape, 1.0 if prior == "ones" else 0.0, dtype)


def coarse_error(a: jax.Array, b: jax.Array, *, cell: int = 4) -> jax.Array:
    """Mean squared difference of two images averaged over cells, the low-frequency subband of both, per image.

    SSIM hardly sees a smooth brightening, by which a lesion stands out; the eye does. The high frequencies, where a
    flow hides what the picture lacks, do not count.
    Source of the idea: Jing et al. 2021, "HiNet", eq. 7 (there one level of a wavelet transform).

    Args:
      a: (B, H, W, C).
      b: the same shape.
      cell: side of the square cells in pixels; what is left over at the bottom and right is not looked at.

    Returns:
      (B,).
    """
    batch, height, width, channels = a.shape
    rows, columns = height // cell, width // cell
    difference = (a - b)[:, : rows * cell, : columns * cell].reshape(batch, rows, cell, columns, cell, channels)
    return (difference.mean((2, 4)) ** 2).mean((1, 2, 3))


class LossParts(NamedTuple):
    """What a training step minimises, and its parts: (B,) but for `latent`, a scalar."""

    fusion: jax.Array
    decomposition: jax.Array
    latent: jax.Array
    background: jax.Array | float = 0.0


def background_excess(fused: jax.Array, background: jax.Array) -> jax.Array:
    """Mean over the image of how far the fused image lies above BLACK in the background.

    BLACK is just below 0, so that clipping to [0, 1] makes the background 0 exactly. SSIM forgives a pattern of half a
    grey level there; metrics of edges, which find nothing else in it, do not.

    Args:
      fused: (B, H, W, 1).
      background: (B, H, W, 1), true where every source is 0.

    Returns:
      (B,).
    """
    return jnp.where(background, jax.nn.relu(fused - BLACK), 0).mean((1, 2, 3))


def total_loss(
    parts: LossParts, *, alpha: float = 0.5, latent_weight: float = 1.0, background_weight: float = 0.0
) -> jax.Array:
    """α · (fusion + w · latent) + (1 - α) · decomposition, eq. 5 (there w = 1), per image: (B,).

    Beyond the paper: + `background_weight` · background.

    Args:
      parts: of the loss.
      alpha: α, of fusion against decomposition.
      latent_weight: w.
      background_weight: of `background_excess`.
    """
    published = alpha * (parts.fusion + latent_weight * parts.latent) + (1 - alpha) * parts.decomposition
    return published + background_weight * parts.background
