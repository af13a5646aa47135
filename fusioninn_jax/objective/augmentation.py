"""How a training example is changed at random: turned, flipped, its intensities mapped anew."""

from __future__ import annotations

from typing import Any

import dm_pix
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from fusioninn_jax.objective import salts
from fusioninn_jax.objective.slices import Slices

# of the curves that `augment.tone` draws: closer in the dark, where most of a slice's values lie
TONE_KNOTS = (np.arange(7) / 6) ** 1.5
TONE_FLOOR = 0.02  # a value of the brain doesn't turn into the background's


def augment(key: jax.Array, example: Slices, config: ml_collections.ConfigDict) -> Slices:
    """Augments one example: the same geometry for all its images, then a change of intensity for each modality.

    Args:
      key: of this example.
      example: its arrays without their batch axis.
      config: `settings.AUGMENT`.

    Returns:
      the example, sources in [0, 1]. A target made beforehand follows the geometry, not the intensities.
    """
    flip_key, angle_key, intensity_key, order_key = jax.random.split(key, 4)
    sources, target = example
    modalities = sources.shape[-1]
    images = sources if target is None else jnp.concatenate([sources, target], -1)
    if config.flip:
        images = dm_pix.random_flip_left_right(flip_key, images)
    if config.rotation:
        limit = jnp.deg2rad(config.rotation)
        angle: Any = jax.random.uniform(angle_key, (), minval=-limit, maxval=limit)
        images = dm_pix.rotate(images, angle, order=1)
    images = jnp.clip(images, 0, 1)
    sources, target = images[..., :modalities], None if target is None else images[..., modalities:]
    sources = _change_intensity(intensity_key, sources, config)
    if config.swap:
        sources = sources[..., jax.random.permutation(order_key, modalities)]
    return Slices(sources, target)


def _change_intensity(key: jax.Array, x: jax.Array, config: ml_collections.ConfigDict) -> jax.Array:
    """A map of [0, 1] to itself for each modality on the last axis, monotone but for `tone`."""
    modalities, (gamma_key, gain_key) = x.shape[-1], jax.random.split(key)
    gammas = jnp.exp(jax.random.uniform(gamma_key, (modalities,), minval=-config.gamma, maxval=config.gamma))
    gains = jax.random.uniform(gain_key, (modalities,), minval=1 - config.gain, maxval=1.0)
    x = dm_pix.adjust_gamma(x, gammas.astype(x.dtype), assume_in_bounds=True) if config.gamma else x
    if config.tone:
        keys = jax.random.split(jax.random.fold_in(key, salts.TONE), modalities)
        x = jax.vmap(_change_tone, in_axes=(0, -1, None), out_axes=-1)(keys, x, config.tone)
    return x * gains.astype(x.dtype) if config.gain else x


def _change_tone(key: jax.Array, x: jax.Array, most: float) -> jax.Array:
    """An image through a curve drawn from `key`: that of no change, mixed with one through random values.

    Black stays black, so that the brain stays where it is.
    """
    share_key, curve_key = jax.random.split(key)
    straight = jnp.asarray(TONE_KNOTS, x.dtype)
    share = jax.random.uniform(share_key, (), x.dtype, maxval=most)
    values = jax.random.uniform(curve_key, straight.shape, x.dtype, minval=TONE_FLOOR).at[0].set(0)
    return jnp.interp(x, straight, (1 - share) * straight + share * values)
