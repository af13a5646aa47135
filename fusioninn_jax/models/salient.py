"""The mean of the sources, brightened where they differ as they rarely do: the picture that FusionINN shows by default.

A lesion that one source alone shows is half as bright in the mean as it was there. Here each pixel says how far the
sources lie from their mean, next to how far they usually do; what is beyond, smoothed, brightens the mean.

    m = mean_i x_i,    e_i = x_i - m,    w_i = 1 - exp(-(e_i / τ)²)
    z_i = |e_i - μ_i| / (1.25 ⟨|e_i - μ_i|⟩),    s = G * max_i w_i clip(z_i - 0.7, 0, 4) / G * max_i w_i
    logit(fused) = logit(m) + 0.17 s

⟨·⟩ is the average over the image weighted by w_i, which is 0 in the background, μ_i = ⟨e_i⟩, and G a Gaussian of σ = 4
pixels. The smoothing makes it cheap: a smooth bump changes little inside SSIM's windows, and averages noise out.

How much a pixel is brightened depends on the differences alone, and these are kept. So (m, e) -> (fused, e) is a
coupling, and a flow can start as this rule, exactly invertible (`opening`). docs/RESULTS.md has the evidence.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from fusioninn_jax.bijections import Bijection, half_coupling, mean_difference, odds
from fusioninn_jax.bijections.base import Condition, Params
from fusioninn_jax.models.classical import average, stack_sources

THRESHOLD = 0.7  # in usual deviations; less is ordinary
CAP = 4.0  # more above the threshold brightens no further
STRENGTH = 0.17  # of the brightening, in logits
SMOOTHING = 4.0  # σ in pixels
NOTHING = 0.01  # τ: below, in intensity, a deviation is as good as none
MIN_SPREAD = 2.5e-3  # in intensity; sources that never differ would make noise salient
MIN_WEIGHT = 0.01


def saliency(deviations: jax.Array) -> jax.Array:
    """How unusual the differences of the sources are about a pixel (s of the equations at the module's top).

    Args:
      deviations: (B, H, W, m) of the sources from their mean, in intensity.

    Returns:
      (B, H, W, 1) in [0, CAP].
    """
    weight = 1 - jnp.exp(-((deviations / NOTHING) ** 2))
    total = weight.sum((1, 2), keepdims=True) + MIN_WEIGHT

    def over_image(x: jax.Array) -> jax.Array:
        return (weight * x).sum((1, 2), keepdims=True) / total

    distance = jnp.abs(deviations - over_image(deviations))
    unusual = distance / jnp.maximum(1.25 * over_image(distance), MIN_SPREAD)
    strongest = (weight * jnp.clip(unusual - THRESHOLD, 0, CAP)).max(-1, keepdims=True)

    def smooth(x: jax.Array) -> jax.Array:
        return average(x, int(4 * SMOOTHING), SMOOTHING)

    return smooth(strongest) / jnp.maximum(smooth(weight.max(-1, keepdims=True)), MIN_WEIGHT)


@jax.jit
def salient_mean(*sources: jax.Array) -> jax.Array:
    """The mean of the sources, brightened where they differ unusually (the equations are at the module's top).

    Args:
      *sources: m (B, H, W, 1) images in [0, 1]; what is usual is so in the image that is given.

    Returns:
      (B, H, W, 1) in [0, 1]; 0 where every source is.

    Raises:
      ValueError: fewer than two sources, or unlike shapes.
    """
    images = jnp.concatenate(list(stack_sources(sources)), axis=-1)
    mean = images.mean(-1, keepdims=True)
    return odds().forward((STRENGTH * saliency(images - mean),), mean)[0]


def opening(position: int, sources: int, scale: float) -> Bijection:
    """The coupling that makes `salient_mean` of the mean, given the differences of `bijections.mean_difference`.

    Args:
      position: of the mean among the channels.
      sources: m, as many as there are channels.
      scale: of the channels: intensities come as scale · (x - 1/2).
    """
    position %= sources
    return half_coupling(
        functools.partial(_brightening, position, scale), split=(position,), transformer=odds(-scale / 2, scale / 2)
    )


def _brightening(
    position: int, scale: float, params: Params, differences: jax.Array, channels: int, condition: Condition = None
) -> jax.Array:
    """The conditioner of `opening`: no parameters."""
    without_mean = [differences[..., :position], jnp.zeros_like(differences[..., :1]), differences[..., position:]]
    deviations, _ = mean_difference(position).inverse({}, jnp.concatenate(without_mean, axis=-1))
    return STRENGTH * saliency(deviations / scale)
