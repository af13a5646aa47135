"""The mean of the sources, brightened where one of them stands out: the picture that FusionINN learns by default.

A lesion that one source alone shows is half as bright in the mean as it was there. Here each source says how far a
pixel lies above the bulk of its brain, in units of the brain's own spread; what is beyond one such unit, smoothed,
brightens the mean by a screen blend, which keeps black black, order among neighbours, and everything below 1.

    z_i = (x_i - q50_i) / ((q84_i - q16_i) / 2),    s = G * clip(max_i z_i - 1, 0, 4),
    fused = 1 - (1 - mean_i x_i) · exp(-0.1 s)

q are quantiles of the brain's pixels in the slice, G a Gaussian of σ = 3 pixels normalised by the brain mask. The
smoothing is what makes it cheap: a smooth bump changes little inside SSIM's windows, and averages noise out of the
saliency. docs/RESULTS.md has the evidence for the form and for its constants.
"""
from __future__ import annotations

import jax
import jax.numpy as jnp

from fusioninn_jax.brain import inside
from fusioninn_jax.models.classical import average, stack_sources

QUANTILES = (0.16, 0.5, 0.84)
THRESHOLD = 1.0  # in spreads above the median; less is ordinary brain
CAP = 4.0  # more above the threshold brightens no further
STRENGTH = 0.1  # of the screen blend
SMOOTHING = 3.0  # σ in pixels
MIN_SPREAD = 1e-3  # in intensity; a flat source would make noise salient


def brain_levels(sources: jax.Array) -> jax.Array:
    """The quantiles of each source's brain pixels, which say what stands out in a slice.

    Args:
      sources: (B, H, W, M) in [0, 1]; brain is where any source is above 0.

    Returns:
      (B, 3, M), the values at rank floor(q · (n - 1)) of the n brain pixels for q in QUANTILES; 0 where there is no
      brain.
    """
    brain = inside(sources)
    count = brain.sum((1, 2))[:, None]  # (B, 1, 1)
    ordered = jnp.sort(jnp.where(brain, sources, jnp.inf).reshape(len(sources), -1, sources.shape[-1]), axis=1)
    ranks = jnp.floor(jnp.asarray(QUANTILES)[:, None] * jnp.maximum(count - 1, 0)).astype(jnp.int32)
    return jnp.where(count > 0, jnp.take_along_axis(ordered, ranks, axis=1), 0)


def saliency(sources: jax.Array, levels: jax.Array) -> jax.Array:
    """How far the most conspicuous source stands out, smoothed over the brain.

    Args:
      sources: (B, H, W, M) in [0, 1].
      levels: (B, 3, M), of `brain_levels`; where `sources` is a crop, those of the whole slice.

    Returns:
      (B, H, W, 1) in [0, CAP], 0 outside the brain.
    """
    brain = inside(sources).astype(sources.dtype)
    low, median, high = (levels[:, i, None, None] for i in range(3))
    standing_out = (sources - median) / jnp.maximum((high - low) / 2, MIN_SPREAD) - THRESHOLD
    strongest = jnp.clip(standing_out.max(-1, keepdims=True), 0, CAP) * brain
    def smooth(x: jax.Array) -> jax.Array:
        return average(x, int(4 * SMOOTHING), SMOOTHING)
    return brain * smooth(strongest) / jnp.maximum(smooth(brain), 1e-3)


@jax.jit
def salient_mean(*sources: jax.Array, levels: jax.Array | None = None) -> jax.Array:
    """The mean of the sources, brightened where one of them stands out (the equations are at the module's top).

    Args:
      *sources: m (B, H, W, 1) images in [0, 1].
      levels: (B, 3, m) from `brain_levels`; needed where the images are crops. None: of these images.

    Returns:
      (B, H, W, 1) in [0, 1]; 0 where every source is.

    Raises:
      ValueError: fewer than two sources, or unlike shapes.
    """
    images = jnp.concatenate(list(stack_sources(sources)), axis=-1)
    levels = brain_levels(images) if levels is None else levels
    return 1 - (1 - images.mean(-1, keepdims=True)) * jnp.exp(-STRENGTH * saliency(images, levels))
