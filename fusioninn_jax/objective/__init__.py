"""What training minimises: the parts of the total loss for one batch of any FusionModel, and what is measured with it.

Pure functions of (variables, sources, keys). Nothing here knows how many devices there are: `gather` brings a latent
together where a batch statistic needs the global batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections

from fusioninn_jax import latent_losses, losses, storage
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.latent_losses import characteristic
from fusioninn_jax.models import FusionModel, Variables
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.objective import fusion_targets, salts, settings_check
from fusioninn_jax.objective.augmentation import augment
from fusioninn_jax.objective.slices import Slices, slices_of, split_sources
from fusioninn_jax.score_names import BRAIN, of_decomposed, of_fused
from fusioninn_jax.ssim import moments, ssim

__all__ = [
    "Slices",
    "augment",
    "draw_latents",
    "fusion_target",
    "loss_parts",
    "per_image_loss",
    "scores",
    "slices_of",
    "split_sources",
    "target_setting",
]


def draw_latents(keys: jax.Array, prior: str, like: jax.Array) -> jax.Array:
    """One draw from the prior for each example.

    Args:
      keys: (B,), one for each.
      prior: one of `losses.LATENT_PRIORS`.
      like: (B, H, W, C), what the draw is shaped as.
    """
    return jax.vmap(lambda key: losses.sample_prior(prior, key, like.shape[1:], like.dtype))(keys)


def target_setting(model: FusionModel, config: ml_collections.ConfigDict) -> str:
    """`fusion_target` of `config`, a `settings.LOSSES`, or what it stands for with `model` where it is empty."""
    return config.fusion_target or ("salient_mean" if model.decompose else fusion_targets.SOURCES)


def fusion_target(slices: Slices, setting: str) -> jax.Array | None:
    """What the fused image of `slices` should look like, (B, H, W, 1) in [0, 1]; None: like the sources.

    Args:
      slices: with the pictures of a folder, where the setting names one.
      setting: from `target_setting`.

    Raises:
      ValueError: a setting that `fusion_targets` cannot parse, or a folder whose pictures the batch does not hold.
    """
    if setting == fusion_targets.SOURCES:
        return None
    if slices.target is not None:
        return slices.target
    if fusion_targets.is_folder(setting):
        raise ValueError(f"losses.fusion_target is {setting!r}: the batch holds no pictures made beforehand")
    return fusion_targets.of_rule(setting, split_sources(slices.sources))


def loss_parts(
    model: FusionModel,
    variables: Variables,
    slices: Slices,
    keys: jax.Array,
    config: ml_collections.ConfigDict,
    *,
    train: bool,
    gather: Callable[[jax.Array], jax.Array],
    share: characteristic.Share = lambda sums: sums,
    step_key: jax.Array | None = None,
) -> tuple[losses.LossParts, dict[str, Any], Variables]:
    """The loss parts of a batch.

    Args:
      model: the system.
      variables: its variables.
      slices: the batch.
      keys: (B,), one for each example; its latents are drawn with it.
      config: `settings.LOSSES`.
      train: use and update batch statistics, of slices of a size that the model takes; else any size will do.
      gather: brings arrays of all devices together, latents and moments: (B, ...) -> (global B, ...).
      share: adds up the sums of all devices, a pytree.
      step_key: of what all devices draw alike, the directions of the latent loss; None: always the same ones.

    Returns:
      the parts; the images (`fused`, and where the system has them `latent` and `decomposed`, a tuple); the updated
      batch statistics. For a system with a loss of its own (`train_loss`) that loss stands in the part `fusion`, and
      there are no images.
    """
    sources = split_sources(slices.sources)
    if model.train_loss is not None:
        own = model.train_loss(variables, sources, keys)
        return losses.LossParts(own, jnp.zeros_like(own), jnp.zeros((), own.dtype)), {}, {}
    if train:
        fused, latent, batch_stats = model.fuse_train(variables, *sources, gather=gather)
    else:
        model = any_size(model)
        (fused, latent), batch_stats = model.fuse(variables, *sources), variables.get("batch_stats", {})
    similarity = _similarity(sources, config)
    outputs = split_sources(fused)  # the fused image, then those of deep supervision
    fused, wanted = outputs[0], fusion_target(slices, target_setting(model, config))
    fusion = _fusion_part(outputs, wanted, similarity, config)
    images: dict[str, Any] = {"fused": fused}
    if latent is None or model.decompose is None:
        return losses.LossParts(fusion, jnp.zeros_like(fusion), jnp.zeros((), fused.dtype)), images, batch_stats
    target_keys, fresh_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
    fresh = draw_latents(fresh_keys, config.prior, latent)
    latent, brain = latent[:, : fused.shape[1], : fused.shape[2]], brain_mask(sources)
    if config.latent == "characteristic":
        latent_part = _shared_latent_loss(latent, fused, brain, config, share, step_key)
    else:
        latent_part = _gathered_latent_loss(latent, target_keys, brain, config, gather)
    stored = storage.simulate(fused, jax.vmap(lambda key: jax.random.fold_in(key, salts.STORAGE))(keys), config.storage)
    decomposed = model.decompose(variables, stored, fresh)
    images |= {"latent": latent, "decomposed": decomposed}
    background = losses.background_excess(fused, ~brain)
    return losses.LossParts(fusion, similarity(decomposed), latent_part, background), images, batch_stats


Similarity = Callable[[tuple[jax.Array, ...]], jax.Array]  # of an image for each source, or of one for all; (B,)


def _similarity(sources: tuple[jax.Array, ...], config: ml_collections.ConfigDict) -> Similarity:
    """The loss of images against the sources, whose moments are taken once."""
    of_sources = [moments(source) for source in sources]

    def similarity(images: tuple[jax.Array, ...]) -> jax.Array:
        times = len(sources) // len(images)  # a fused image stands beside every source; its moments are taken once
        of_images = [moments(image) for image in images] * times
        known = list(zip(of_sources, of_images, strict=True))
        pairs = list(zip(sources, images * times, strict=True))
        return losses.similarity_loss(pairs, weight=config.lam, reduction=config.reduction, known=known)

    return similarity


def _fusion_part(
    outputs: tuple[jax.Array, ...], wanted: jax.Array | None, similarity: Similarity, config: ml_collections.ConfigDict
) -> jax.Array:
    """The mean loss, (B,), of the fused image and of what deep supervision takes for as good as that."""
    return jnp.stack([_fusion_loss(output, wanted, similarity, config) for output in outputs]).mean(0)


def _fusion_loss(
    output: jax.Array, wanted: jax.Array | None, similarity: Similarity, config: ml_collections.ConfigDict
) -> jax.Array:
    """Of a fused image, (B,): against the picture wanted, or else against each source."""
    if wanted is None:
        return similarity((output,))
    similar = losses.similarity_loss([(wanted, output)], weight=config.lam, reduction=config.reduction)
    return similar + config.coarse_weight * losses.coarse_error(wanted, output)


def _gathered_latent_loss(
    latent: jax.Array,
    keys: jax.Array,
    brain: jax.Array,
    config: ml_collections.ConfigDict,
    gather: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    target = draw_latents(keys, config.prior, latent)
    return latent_losses.latent_loss(config.latent, gather(latent), gather(target), gather(brain))


def _shared_latent_loss(
    latent: jax.Array,
    fused: jax.Array,
    brain: jax.Array,
    config: ml_collections.ConfigDict,
    share: characteristic.Share,
    step_key: jax.Array | None,
) -> jax.Array:
    settings_check.check_prior(config.prior)
    key = jax.random.key(0) if step_key is None else step_key
    return characteristic.characteristic(latent, fused, brain, key, share=share)


def per_image_loss(model: FusionModel, parts: losses.LossParts, config: ml_collections.ConfigDict) -> jax.Array:
    """The total loss per image, (B,); a system that cannot decompose is trained on the part `fusion` alone.

    Args:
      model: the system.
      parts: from `loss_parts`.
      config: `settings.LOSSES`.
    """
    if not model.decompose:
        return parts.fusion
    return losses.total_loss(
        parts, alpha=config.alpha, latent_weight=config.latent_weight, background_weight=config.background_weight
    )


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
    partners |= {
        of_decomposed("ssim", i, storage_name): image for i, image in enumerate(images.get("decomposed", ()), 1)
    }
    for i, (name, image) in enumerate(partners.items()):
        source = sources[i % len(sources)]
        result |= {name: ssim(source, image), name + BRAIN: ssim(source, image, mask=brain)}
    return result
