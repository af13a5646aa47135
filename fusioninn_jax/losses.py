"""The losses of FusionINN (arXiv 2403.15769, eqs. 2-5).

Images are (B, H, W, 1) in [0, 1], latents (B, H, W, m - 1). Image losses give one value per image, (B,), and callers
reduce; a latent loss is of the whole batch and gives a scalar.

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
LATENT_LOSSES = ("mmd_official", "wasserstein", "none")
LATENT_PRIORS = ("normal", "zeros", "uniform", "ones")
MMD_WIDTHS = (0.05, 0.2, 0.9)


def ssim(a: jax.Array, b: jax.Array) -> jax.Array:
    """Structural similarity per image, (B, H, W, C) twice in [0, 1] -> (B,). See `fusioninn_jax.ssim`."""
    return _ssim.ssim(a, b)


def l2(a: jax.Array, b: jax.Array, *, reduction: str = "official") -> jax.Array:
    """Squared-error loss per image: mean squared error ('official') or ‖a - b‖₂ ('paper', eq. 3), (B,)."""
    squares = (a - b) ** 2
    if reduction == "official":
        return squares.mean(axis=(1, 2, 3))
    total = squares.sum(axis=(1, 2, 3))
    # the norm's gradient at 0 is not defined; 0 is the one that keeps a perfect image where it is
    safe = jnp.where(total > 0, total, 1)
    return jnp.where(total > 0, jnp.sqrt(safe), 0)


def similarity_loss(pairs: Sequence[tuple[jax.Array, jax.Array]], *, weight: float = 0.8,
                    reduction: str = "official",
                    known: Sequence[tuple[_ssim.Moments, _ssim.Moments]] | None = None) -> jax.Array:
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
    terms = jnp.stack([weight * (1 - _ssim.ssim(a, b, known=of_pair)) + (1 - weight) * l2(a, b, reduction=reduction)
                       for (a, b), of_pair in zip(pairs, known or [None] * len(pairs), strict=True)])
    return terms.mean(axis=0) if reduction == "official" else terms.sum(axis=0)


def mmd_official(latent: jax.Array, target: jax.Array) -> jax.Array:
    """Biased MMD² between two batches of images taken as vectors; the authors' latent loss.

    Inverse multiquadratic kernels a² / (a² + ‖u - v‖²), summed over a in {0.05, 0.2, 0.9}. Inert at image size: every
    distance between images is so large that the value is 6 / B whatever the latent, and the gradient almost 0.
    Source: Gretton et al. 2012, "A kernel two-sample test", eq. 5, with the kernels of the authors' code.

    Args:
      latent: (B, ...) the whole batch's latents.
      target: (B, ...) as many draws from the prior.

    Returns:
      a scalar.
    """
    u, v = latent.reshape(len(latent), -1), target.reshape(len(target), -1)

    def kernel_mean(a: jax.Array, b: jax.Array) -> jax.Array:
        distances = ((a * a).sum(1)[:, None] + (b * b).sum(1)[None, :]
                     - 2 * jnp.einsum("id,jd->ij", a, b, precision="highest"))
        if a is b:  # an image's distance to itself is 0; the difference of large sums above would miss it
            distances = jnp.where(jnp.eye(len(a), dtype=bool), 0, distances)
        distances = jnp.maximum(distances, 0)
        kernels = [(width**2 / (width**2 + distances)).mean() for width in MMD_WIDTHS]
        return jnp.stack(kernels).sum()

    return kernel_mean(u, u) + kernel_mean(v, v) - 2 * kernel_mean(u, v)


def wasserstein(latent: jax.Array, target: jax.Array) -> jax.Array:
    """Squared 2-Wasserstein distance between the pixel values of two batches: mean (sorted u - sorted v)².

    Unlike `mmd_official` its gradient does not vanish as images grow: it is of one dimension, the pixel's value.
    Source: Villani 2003, "Topics in optimal transportation", theorem 2.18 (optimal transport on the line).

    Args:
      latent: (B, ...) the whole batch's latents.
      target: (B, ...) as many draws from the prior.

    Returns:
      a scalar.
    """
    return ((jnp.sort(latent.ravel()) - jnp.sort(target.ravel())) ** 2).mean()


def latent_loss(name: str, latent: jax.Array, target: jax.Array) -> jax.Array:
    """The latent loss called `name`: a scalar from (B, ...) latents and (B, ...) draws from the prior.

    Raises:
      ValueError: an unknown name.
    """
    if name not in LATENT_LOSSES:
        raise ValueError(f"latent loss is {name!r}; it must be one of {', '.join(LATENT_LOSSES)}")
    if name == "none":
        return jnp.zeros((), latent.dtype)
    return {"mmd_official": mmd_official, "wasserstein": wasserstein}[name](latent, target)


def sample_prior(prior: str, key: jax.Array, shape: Sequence[int], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    """Draws a latent from the prior: N(0, 1), 0, U[0, 1) or 1 for each element (paper, Table 2).

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


class LossParts(NamedTuple):
    """What a training step minimises, and its parts: (B,) but for `latent`, a scalar."""

    fusion: jax.Array
    decomposition: jax.Array
    latent: jax.Array


def total_loss(parts: LossParts, *, alpha: float = 0.5) -> jax.Array:
    """α · (fusion + latent) + (1 - α) · decomposition, eq. 5, per image: (B,)."""
    return alpha * (parts.fusion + parts.latent) + (1 - alpha) * parts.decomposition
