"""What training minimises: the parts of the total loss for one batch of any FusionModel, and what is measured with it.

Pure functions of (variables, sources, keys). Nothing here knows how many devices there are: `gather` brings a latent
together where a batch statistic needs the global batch.
"""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dm_pix
import jax
import jax.numpy as jnp
import ml_collections

from fusioninn_jax import losses, salts, storage
from fusioninn_jax.brain import brain_mask
from fusioninn_jax.models import FusionModel, Variables
from fusioninn_jax.score_names import BRAIN, of_decomposed, of_fused
from fusioninn_jax.ssim import Moments, moments, ssim


def augment(key: jax.Array, sources: jax.Array, config: ml_collections.ConfigDict) -> jax.Array:
    """Augments one example: the same geometry for all modalities, an intensity change for each.

    Args:
      key: of this example.
      sources: (H, W, M) in [0, 1].
      config: `settings.AUGMENT`.

    Returns:
      (H, W, M) in [0, 1].
    """
    flip_key, angle_key, gamma_key = jax.random.split(key, 3)
    if config.flip:
        sources = dm_pix.random_flip_left_right(flip_key, sources)
    if config.rotation:
        limit = jnp.deg2rad(config.rotation)
        angle: Any = jax.random.uniform(angle_key, (), minval=-limit, maxval=limit)
        sources = dm_pix.rotate(sources, angle, order=1)
    if config.gamma:
        gammas: Any = jnp.exp(jax.random.uniform(gamma_key, sources.shape[-1:], minval=-config.gamma,
                                                 maxval=config.gamma))
        adjusted = [dm_pix.adjust_gamma(sources[..., i:i + 1], gammas[i], assume_in_bounds=True)
                    for i in range(sources.shape[-1])]
        sources = jnp.concatenate(adjusted, -1)
    return jnp.clip(sources, 0, 1)


def split_sources(stack: jax.Array) -> tuple[jax.Array, ...]:
    """Modalities as images of their own.

    Args:
      stack: (B, H, W, M).

    Returns:
      M images (B, H, W, 1).
    """
    return tuple(jnp.split(stack, stack.shape[-1], axis=-1))


def draw_latents(keys: jax.Array, prior: str, like: jax.Array) -> jax.Array:
    """One draw from the prior for each example.

    Args:
      keys: (B,), one for each.
      prior: one of `losses.LATENT_PRIORS`.
      like: (B, H, W, C), what the draw is shaped as.
    """
    return jax.vmap(lambda key: losses.sample_prior(prior, key, like.shape[1:], like.dtype))(keys)


def loss_parts(model: FusionModel, variables: Variables, sources: tuple[jax.Array, ...], keys: jax.Array,
               config: ml_collections.ConfigDict, *, train: bool,
               gather: Callable[[jax.Array], jax.Array]) -> tuple[losses.LossParts, dict[str, jax.Array], Any]:
    """The loss parts of a batch.

    Args:
      model: the system.
      variables: its variables.
      sources: m images (B, H, W, 1) in [0, 1].
      keys: (B,), one for each example; its latents are drawn with it.
      config: `settings.LOSSES`.
      train: use and update batch statistics.
      gather: brings arrays of all devices together, latents and moments: (B, ...) -> (global B, ...).

    Returns:
      the parts; the images (`fused`, and where the system has them `latent` and `decomposed`, a tuple); the updated
      batch statistics. For a system with a loss of its own (`train_loss`) that loss stands in the part `fusion`, and
      there are no images.
    """
    if model.train_loss is not None:
        own = model.train_loss(variables, sources, keys)
        return losses.LossParts(own, jnp.zeros_like(own), jnp.zeros((), own.dtype)), {}, {}
    if train:
        fused, latent, batch_stats = model.fuse_train(variables, *sources, gather=gather)
    else:
        (fused, latent), batch_stats = model.fuse(variables, *sources), variables.get("batch_stats", {})
    of_sources = [moments(source) for source in sources]
    def similarity(images: tuple[jax.Array, ...], of_images: list[Moments]) -> jax.Array:
        return losses.similarity_loss(list(zip(sources, images, strict=True)), weight=config.lam,
                                      reduction=config.reduction, known=list(zip(of_sources, of_images, strict=True)))
    fused, *sides = split_sources(fused)  # of deep supervision, each as good as the fused image itself
    fusion = jnp.stack([similarity((output,) * len(sources), [moments(output)] * len(sources))
                        for output in (fused, *sides)]).mean(0)
    images: dict[str, Any] = {"fused": fused}
    if latent is None or model.decompose is None:
        return losses.LossParts(fusion, jnp.zeros_like(fusion), jnp.zeros((), fused.dtype)), images, batch_stats
    target_keys, fresh_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    target = draw_latents(target_keys, config.prior, latent)
    brain = brain_mask(sources)
    latent_part = losses.latent_loss(config.latent, gather(latent), gather(target), gather(brain))
    stored = storage.simulate(fused, jax.vmap(lambda key: jax.random.fold_in(key, salts.STORAGE))(keys), config.storage)
    decomposed = model.decompose(variables, stored, draw_latents(fresh_keys, config.prior, latent))
    images |= {"latent": latent, "decomposed": decomposed}
    decomposition = similarity(decomposed, [moments(image) for image in decomposed])
    background = losses.background_excess(fused, ~brain)
    return losses.LossParts(fusion, decomposition, latent_part, background), images, batch_stats


def per_image_loss(model: FusionModel, parts: losses.LossParts, config: ml_collections.ConfigDict) -> jax.Array:
    """The total loss per image, (B,); a system that cannot decompose is trained on the part `fusion` alone.

    Args:
      model: the system.
      parts: from `loss_parts`.
      config: `settings.LOSSES`.
    """
    if not model.decompose:
        return parts.fusion
    return losses.total_loss(parts, alpha=config.alpha, latent_weight=config.latent_weight,
                             background_weight=config.background_weight)


def scores(sources: tuple[jax.Array, ...], images: dict[str, Any], storage_name: str) -> dict[str, jax.Array]:
    """SSIM of fused and decomposed images with each source, whole slice and inside the brain, each (B,).

    Args:
      sources: m images (B, H, W, 1) in [0, 1].
      images: as `loss_parts` gives them; {} for a system that has none while it trains.
      storage_name: how the fused image was kept, `score_names.storage_name`.

    Returns:
      the scores by their `score_names`; {} without images.
    """
    result: dict[str, jax.Array] = {}
    brain = brain_mask(sources)
    partners = {of_fused(i): images["fused"] for i in range(1, len(sources) + 1) if images}
    partners |= {of_decomposed("ssim", i, storage_name): image
                 for i, image in enumerate(images.get("decomposed", ()), 1)}
    for i, (name, image) in enumerate(partners.items()):
        source = sources[i % len(sources)]
        result |= {name: ssim(source, image), name + BRAIN: ssim(source, image, mask=brain)}
    return result
