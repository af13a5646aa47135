"""The losses of FusionINN (arXiv 2403.15769, eqs. 2-5).

Images are (B, H, W, 1) in [0, 1], latents (B, H, W, m - 1). Image losses give one value per image, (B,), and callers
reduce; a latent loss is of the whole batch and gives a scalar.

`reduction` says how the paper or its code put the parts together (both kept, the code made the published numbers):
  official: mean over the sources; l2 = mean squared error.
  paper: sum over the sources; l2 = ‖·‖₂ of each image, not squared.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from fusioninn_jax import ssim as _ssim

REDUCTIONS = ("official", "paper")
BLACK = -2e-4  # what a fused image's background should not exceed
LATENT_LOSSES = ("white", "mmd_official", "mmd_patch", "wasserstein", "sliced_wasserstein", "none")
LATENT_PRIORS = ("normal", "zeros", "uniform", "ones")
MMD_WIDTHS = (0.05, 0.2, 0.9)


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
    of_pairs: Sequence[tuple[_ssim.Moments, _ssim.Moments] | None] = known or [None] * len(pairs)
    terms = jnp.stack([weight * (1 - _ssim.ssim(a, b, known=of_pair)) + (1 - weight) * l2(a, b, reduction=reduction)
                       for (a, b), of_pair in zip(pairs, of_pairs, strict=True)])
    return terms.mean(axis=0) if reduction == "official" else terms.sum(axis=0)


def _mmd(u: jax.Array, v: jax.Array, unit: float = 1.0) -> jax.Array:
    """Biased MMD² of two (N, d) samples under the authors' kernels; squared distances count in units of `unit`."""
    def kernel_mean(a: jax.Array, b: jax.Array) -> jax.Array:
        distances = ((a * a).sum(1)[:, None] + (b * b).sum(1)[None, :]
                     - 2 * jnp.einsum("id,jd->ij", a, b, precision="highest"))
        if a is b:  # a row's distance to itself is 0; the difference of large sums above would miss it
            distances = jnp.where(jnp.eye(len(a), dtype=bool), 0, distances)
        distances = jnp.maximum(distances, 0) / unit
        return jnp.stack([(width**2 / (width**2 + distances)).mean() for width in MMD_WIDTHS]).sum()

    return kernel_mean(u, u) + kernel_mean(v, v) - 2 * kernel_mean(u, v)


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
    return _mmd(latent.reshape(len(latent), -1), target.reshape(len(target), -1))


def _sorted_inside(values: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The values where `mask` is true in order, then zeros; and which places hold one."""
    inside = jnp.broadcast_to(mask, values.shape).ravel()
    held = jnp.arange(inside.size) < inside.sum()
    return jnp.where(held, jnp.sort(jnp.where(inside, values.ravel(), jnp.inf)), 0), held


def wasserstein(latent: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Squared 2-Wasserstein distance between the pixel values of two batches: mean (sorted u - sorted v)².

    Unlike `mmd_official` its gradient does not vanish as images grow: it is of one dimension, the pixel's value.
    Source: Villani 2003, "Topics in optimal transportation", theorem 2.18 (optimal transport on the line).

    Args:
      latent: (B, ...) the whole batch's latents.
      target: (B, ...) as many draws from the prior.
      mask: true where a pixel counts, one that broadcasts to the latents; None: everywhere.

    Returns:
      a scalar.
    """
    mask = jnp.ones_like(latent, bool) if mask is None else mask
    (u, held), (v, _) = _sorted_inside(latent, mask), _sorted_inside(target, mask)
    return ((u - v) ** 2).sum() / jnp.maximum(held.sum(), 1)


def sliced_wasserstein(latent: jax.Array, target: jax.Array, mask: jax.Array, *, slices: int = 8,
                       patch: int = 3) -> jax.Array:
    """Mean `wasserstein` of random projections of the latents' patches: neighbours count, not only single pixels.

    Source: Rabin et al. 2011, "Wasserstein barycenter and its application to texture mixing", section 2.

    Args:
      latent: (B, H, W, C) the whole batch's latents.
      target: (B, H, W, C) as many draws from the prior.
      mask: (B, H, W, 1); a patch counts where its centre does.
      slices: projections; fixed ones, drawn once.
      patch: side of a patch, odd.

    Returns:
      a scalar.
    """
    channels = latent.shape[-1]
    filters = jax.random.normal(jax.random.key(0), (patch, patch, channels, slices), latent.dtype)
    filters = filters / jnp.sqrt((filters**2).sum((0, 1, 2)))
    def project(x: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(x, filters, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    u, v = project(latent), project(target)
    return jnp.stack([wasserstein(u[..., i:i + 1], v[..., i:i + 1], mask) for i in range(slices)]).mean()


def autocovariance(latent: jax.Array, mask: jax.Array, *, reach: int = 2) -> jax.Array:
    """Sum of the squared covariances of a pixel with each neighbour up to `reach` away; 0 for white noise.

    Of each pair of opposite neighbours one is counted. Channels are taken one by one.

    Args:
      latent: (B, H, W, C).
      mask: (B, H, W, 1), true where a pixel counts; a pair counts where both do.
      reach: pixels.

    Returns:
      a scalar.
    """
    count = jnp.maximum(mask.sum(), 1)
    centred = jnp.where(mask, latent - jnp.where(mask, latent, 0).sum((0, 1, 2)) / count, 0)
    inside = mask.astype(latent.dtype)
    def shifted(x: jax.Array, down: int, right: int) -> tuple[jax.Array, jax.Array]:
        height, width = x.shape[1] - down, x.shape[2] - abs(right)
        left, other = (0, right) if right >= 0 else (-right, 0)
        return x[:, :height, left:left + width], x[:, down:, other:other + width]
    def squared_covariance(down: int, right: int) -> jax.Array:
        (a, b), (both_a, both_b) = shifted(centred, down, right), shifted(inside, down, right)
        return (((a * b).sum((0, 1, 2)) / jnp.maximum((both_a * both_b).sum(), 1)) ** 2).sum()
    lags = [(down, right) for down in range(reach + 1) for right in range(-reach, reach + 1) if (down, right) > (0, 0)]
    return jnp.stack([squared_covariance(*lag) for lag in lags]).sum()


def white(latent: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
    """log(1 + wasserstein) + log(1 + autocovariance): pixel values as the prior's, neighbours uncorrelated.

    The logarithm tames the start of training, when both are in the tens or hundreds.

    Args:
      latent: (B, H, W, C) the whole batch's latents.
      target: (B, H, W, C) as many draws from the prior.
      mask: (B, H, W, 1), true where a pixel counts.

    Returns:
      a scalar.
    """
    return jnp.log1p(wasserstein(latent, target, mask)) + jnp.log1p(autocovariance(latent, mask))


def mmd_patch(latent: jax.Array, target: jax.Array, mask: jax.Array, *, patch: int = 3, count: int = 1024) -> jax.Array:
    """Biased MMD² between `count` patches of the latents and as many of the prior's draws.

    `mmd_official`'s kernel in a dimension where it works, its widths in units of the distance that two patches of
    N(0, I) have on average, √(2d) for d values.
    Source: Gretton et al. 2012, "A kernel two-sample test", eq. 5.

    Args:
      latent: (B, H, W, C) the whole batch's latents.
      target: (B, H, W, C) as many draws from the prior.
      mask: (B, H, W, 1); patches lie about pixels where it is true (copies fill up where there are too few).
      patch: side of a patch.
      count: patches.

    Returns:
      a scalar.
    """
    def patches(x: jax.Array, places: jax.Array) -> jax.Array:
        cut = jax.lax.conv_general_dilated_patches(x, (patch, patch), (1, 1), "SAME",
                                                   dimension_numbers=("NHWC", "HWIO", "NHWC"))
        return cut.reshape(-1, cut.shape[-1])[places]
    order = jax.random.uniform(jax.random.key(0), mask.shape) + ~mask  # pixels inside first, in a random order
    places = jnp.argsort(order.ravel())[jnp.arange(count) % jnp.maximum(mask.sum(), 1)]
    u, v = patches(latent, places), patches(target, places)
    return _mmd(u, v, unit=2 * u.shape[-1])


def latent_loss(name: str, latent: jax.Array, target: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """The latent loss called `name`: a scalar from (B, H, W, C) latents and as many draws from the prior.

    Args:
      name: one of LATENT_LOSSES.
      latent: (B, H, W, C) the whole batch's latents.
      target: (B, H, W, C) draws from the prior.
      mask: (B, H, W, 1), true where a pixel counts; `mmd_official` takes whole images all the same. None: everywhere.

    Raises:
      ValueError: an unknown name.
    """
    if name not in LATENT_LOSSES:
        raise ValueError(f"latent loss is {name!r}; it must be one of {', '.join(LATENT_LOSSES)}")
    if name == "none":
        return jnp.zeros((), latent.dtype)
    if name == "mmd_official":
        return mmd_official(latent, target)
    mask = jnp.ones((*latent.shape[:-1], 1), bool) if mask is None else mask
    losses: dict[str, Callable[..., jax.Array]] = {"wasserstein": wasserstein, "white": white, "mmd_patch": mmd_patch,
                                                   "sliced_wasserstein": sliced_wasserstein}
    return losses[name](latent, target, mask)


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


def total_loss(parts: LossParts, *, alpha: float = 0.5, latent_weight: float = 1.0,
               background_weight: float = 0.0) -> jax.Array:
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
