"""Fusion without training: averages, multi-scale transforms, the guided filter, and the limit of the SSIM score.

Every fusion is `f(*sources, options) -> fused`: two or more images, each (B, H, W, C) float in [0, 1] of any size, to
one (B, H, W, C) image clipped to [0, 1]; a single source, or different shapes, raise ValueError. Fusing an image with
itself gives the image back, and the order of two sources does not matter: where they tie, they share.

Filters act as products with the matrices of `models.resampling`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fusioninn_jax import ssim
from fusioninn_jax.models.resampling import (
    DAUBECHIES,
    apply_separably,
    average_matrix,
    dwt_matrix,
    expand_matrix,
    reduce_matrix,
)


def stack_sources(sources: tuple[jax.Array, ...]) -> jax.Array:
    """The sources along a new first axis: (m, B, H, W, C).

    Args:
      sources: m images (B, H, W, C).

    Raises:
      ValueError: fewer than two, other axes than four, or different shapes.
    """
    if len(sources) < 2:
        raise ValueError(f"fusion takes two or more sources, not {len(sources)}")
    shapes = {source.shape for source in sources}
    if len(shapes) > 1 or len(sources[0].shape) != 4:
        raise ValueError(f"sources must all be (B, H, W, C) of one shape, not {sorted(shapes)}")
    return jnp.stack(sources)


def _strongest(coefficients: jax.Array) -> jax.Array:
    """Over axis 0, the coefficient of largest magnitude; those that tie are averaged, so that order is irrelevant."""
    magnitude = jnp.abs(coefficients)
    winners = magnitude == magnitude.max(0, keepdims=True)
    return jnp.where(winners, coefficients, 0).sum(0) / winners.sum(0).astype(coefficients.dtype)


@jax.jit
def mean(*sources: jax.Array) -> jax.Array:
    """Pixel-wise mean of the `sources`: the baseline every learned system should beat."""
    return jnp.clip(stack_sources(sources).mean(0), 0, 1)


@jax.jit
def maximum(*sources: jax.Array) -> jax.Array:
    """Pixel-wise maximum of the `sources`."""
    return jnp.clip(stack_sources(sources).max(0), 0, 1)


@functools.partial(jax.jit, static_argnames="levels")
def laplacian_pyramid(*sources: jax.Array, levels: int = 4) -> jax.Array:
    """Fusion in the Laplacian pyramid: the strongest detail at every level, the mean of the coarsest images.

    Level l + 1 is REDUCE of level l; its detail is level l - EXPAND(level l + 1). Reconstruction is exact.

    Args:
      *sources: m (B, H, W, C) images in [0, 1].
      levels: detail levels; fewer are used where the next image would be one pixel high or wide.

    Returns:
      (B, H, W, C) in [0, 1].

    Source: Burt & Adelson 1983, "The Laplacian pyramid as a compact image code", eqs. 1-7; for fusion Burt 1984.
    """
    return jnp.clip(_fuse_pyramid(stack_sources(sources), levels), 0, 1)


def _fuse_pyramid(image: jax.Array, levels: int) -> jax.Array:
    """Fuses (m, B, H, W, C): the detail of one level here, what is coarser by recursion."""
    height, width = image.shape[2:4]
    if levels == 0 or min(height, width) <= 2:
        return image.mean(0)
    expand = expand_matrix(height), expand_matrix(width)
    coarse = apply_separably(reduce_matrix(height), image, reduce_matrix(width))
    detail = _strongest(image - apply_separably(expand[0], coarse, expand[1]))
    return detail + apply_separably(expand[0], _fuse_pyramid(coarse, levels - 1), expand[1])


@functools.partial(jax.jit, static_argnames=("levels", "name"))
def wavelet(*sources: jax.Array, levels: int = 3, name: str = "db2") -> jax.Array:
    """Fusion in the discrete wavelet domain: the strongest detail coefficient, the mean of the approximations.

    Images are mirrored outwards first, so that the periodic transform neither sees odd sizes nor joins one border
    to the opposite one.

    Args:
      *sources: m (B, H, W, C) images in [0, 1].
      levels: decomposition levels, 1 or more.
      name: 'db1' (Haar) or 'db2'.

    Returns:
      (B, H, W, C) in [0, 1].

    Source: Li, Manjunath, Mitra 1995, "Multisensor image fusion using the wavelet transform" (maximum selection).
    """
    if name not in DAUBECHIES or levels < 1:
        raise ValueError(f"wavelet {name!r} at {levels} levels: give one of {', '.join(DAUBECHIES)}, 1 or more levels")
    image = stack_sources(sources)
    height, width = image.shape[2:4]
    block = 2**levels
    margin = (len(DAUBECHIES[name]) - 2) * block
    ends = [margin + -size % block for size in (height, width)]
    image = jnp.pad(image, ((0, 0), (0, 0), (margin, ends[0]), (margin, ends[1]), (0, 0)), mode="symmetric")
    fused = _fuse_wavelet(image, levels, name)
    return jnp.clip(fused[:, margin : margin + height, margin : margin + width], 0, 1)


def _fuse_wavelet(image: jax.Array, levels: int, name: str) -> jax.Array:
    """Fuses (m, B, H, W, C), H and W divisible by 2**levels: one level here, the approximation by recursion."""
    if levels == 0:
        return image.mean(0)
    height, width = image.shape[2:4]
    rows, columns = dwt_matrix(height, name), dwt_matrix(width, name)
    coefficients = apply_separably(rows, image, columns)
    approximation = _fuse_wavelet(coefficients[:, :, : height // 2, : width // 2], levels - 1, name)
    fused = _strongest(coefficients).at[:, : height // 2, : width // 2].set(approximation)
    return apply_separably(rows.T, fused, columns.T)


def average(x: jax.Array, radius: int, sigma: float = np.inf) -> jax.Array:
    """Local average of (..., H, W, C) over a square window, plain unless sigma is given.

    Args:
      x: (..., H, W, C).
      radius: pixels to each side; the window is 2 · radius + 1 wide.
      sigma: of Gaussian weights, in pixels; infinite for equal ones.
    """
    return apply_separably(average_matrix(x.shape[-3], radius, sigma), x, average_matrix(x.shape[-2], radius, sigma))


def guided_filter(guide: jax.Array, x: jax.Array, *, radius: int, epsilon: float) -> jax.Array:
    """Smooths x while keeping the guide's edges: locally the best linear function of the guide.

    a = cov(guide, x) / (var(guide) + epsilon), b = mean(x) - a mean(guide), output = mean(a) guide + mean(b), means
    over windows of 2 * radius + 1.

    Args:
      guide: (..., H, W, C) in [0, 1].
      x: the same shape.
      radius: window radius in pixels.
      epsilon: the guide's variance (squared intensity) under which it counts as flat.

    Returns:
      The shape of x.

    Source: He, Sun, Tang 2013, "Guided image filtering", eqs. 5-8.
    """
    mean_guide, mean_x = average(guide, radius), average(x, radius)
    covariance = average(guide * x, radius) - mean_guide * mean_x
    variance = jnp.maximum(average(guide * guide, radius) - mean_guide**2, 0)
    slope = covariance / (variance + epsilon)
    offset = mean_x - slope * mean_guide
    return average(slope, radius) * guide + average(offset, radius)


def _saliency(image: jax.Array) -> jax.Array:
    """Gaussian average (radius 5, sigma 5) of the magnitude of the 4-neighbour Laplacian, of (m, B, H, W, C)."""
    padded = jnp.pad(image, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    laplacian = (
        padded[:, :, 2:, 1:-1] + padded[:, :, :-2, 1:-1] + padded[:, :, 1:-1, 2:] + padded[:, :, 1:-1, :-2] - 4 * image
    )
    return average(jnp.abs(laplacian), 5, 5.0)


def _shares(weights: jax.Array) -> jax.Array:
    """Non-negative weights that sum to one over axis 0; equal where none is positive."""
    weights = jnp.maximum(weights, 0)
    total = weights.sum(0, keepdims=True)
    return jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), 1 / len(weights))


@jax.jit
def guided_filter_fusion(*sources: jax.Array) -> jax.Array:
    """Fusion by weights that a guided filter aligns with each source's edges.

    Each source is split into a base (31x31 average) and a detail; the source of largest saliency takes the pixel; this
    binary weight map, filtered under the guidance of the source (radius 45, epsilon 0.3 for the base; radius 7,
    epsilon 1e-6 for the detail) and normalised over the sources, weights base and detail. The paper's constants;
    windows are cut off at the border.

    Args:
      *sources: m (B, H, W, C) images in [0, 1].

    Returns:
      (B, H, W, C) in [0, 1].

    Source: Li, Kang, Hu 2013, "Image fusion with guided filtering", eqs. 7-15.
    """
    images = stack_sources(sources)
    saliency = _saliency(images)
    chosen = (saliency == saliency.max(0, keepdims=True)).astype(images.dtype)
    chosen = chosen / chosen.sum(0, keepdims=True)
    base = average(images, 15)
    base_weights = _shares(guided_filter(images, chosen, radius=45, epsilon=0.3))
    detail_weights = _shares(guided_filter(images, chosen, radius=7, epsilon=1e-6))
    return jnp.clip((base_weights * base + detail_weights * (images - base)).sum(0), 0, 1)


def _mean_ssim_to(sources: tuple[jax.Array, ...]) -> Callable[[jax.Array], jax.Array]:
    """(B,) mean SSIM of a fused image to the sources, as its function: what depends on them alone is computed once."""
    of_sources = [ssim.moments(source) for source in sources]

    def score(fused: jax.Array) -> jax.Array:
        of_fused = ssim.moments(fused)
        maps = [
            ssim.ssim_map_from_moments(of_source, of_fused, ssim.blur(source * fused))
            for source, of_source in zip(sources, of_sources, strict=True)
        ]
        return jnp.stack(maps).mean((0, 2, 3, 4))

    return score


_Scored = tuple[jax.Array, jax.Array]  # images, and the score of each


def _better(best: _Scored, fused: jax.Array, scores: jax.Array) -> _Scored:
    """Of each image the best so far or this one."""
    better = scores > best[1]
    return jnp.where(better[:, None, None, None], fused, best[0]), jnp.where(better, scores, best[1])


@functools.partial(jax.jit, static_argnames="steps")
def ssim_limit(*sources: jax.Array, steps: int = 200, learning_rate: float = 0.02) -> jax.Array:
    """The fused image of (locally) highest mean SSIM to its sources, found by Adam on its pixels.

    Starts at the mean of the sources, projects onto [0, 1] after every step, lowers the rate to 0 along a cosine and
    returns the best image seen, so its score is never below the mean's. No system can beat the global maximum; SSIM
    is not concave, so this is a lower bound of it.

    Args:
      *sources: m (B, H, W, C) images in [0, 1], H and W at least 11.
      steps: Adam steps.
      learning_rate: the first step's size, in intensity.

    Returns:
      (B, H, W, C) in [0, 1].
    """
    start = jnp.clip(stack_sources(sources).mean(0), 0, 1)
    score = _mean_ssim_to(sources)

    def loss(fused: jax.Array) -> tuple[jax.Array, jax.Array]:
        scores = score(fused)
        return -scores.sum() * fused[0].size, scores  # a gradient of order 1 per pixel, far above Adam's epsilon

    optimizer = optax.adam(optax.cosine_decay_schedule(learning_rate, max(steps, 1)))

    def step(carry, _):
        fused, state, best = carry
        gradient, scores = jax.grad(loss, has_aux=True)(fused)
        best = _better(best, fused, scores)
        updates, state = optimizer.update(gradient, state)
        return (jnp.clip(fused + updates, 0, 1), state, best), None

    best = (start, jnp.full(len(start), -jnp.inf, start.dtype))
    (fused, _, best), _ = jax.lax.scan(step, (start, optimizer.init(start), best), length=steps)
    return _better(best, fused, score(fused))[0]
