"""What every setting of `settings.TRAINING` may be, beside the type of its default."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fusioninn_jax.settings.config_check import Rule, above, at_least, between, each_in, one_of, size

_WIDTH, _SOURCES = between(1, 4096), between(2, 64)
_WORDS = 2**32 - 1  # of a seed
LIMITS: Mapping[str, Rule] = MappingProxyType(
    {
        "seed": between(0, 2**31 - 1),
        "data.crop": size(1),
        "data.normalisation": one_of(("minmax", "percentile")),
        "data.shuffle_buffer": at_least(1),
        "augment.rotation": between(0, 360),
        "augment.gamma": between(0, 10),
        "augment.tone": between(0, 1),
        "augment.gain": Rule(lambda gain: 0 <= gain < 1, "0 for none, or below 1"),
        "losses.alpha": between(0, 1),
        "losses.lam": between(0, 1),
        "losses.reduction": one_of(("official", "paper")),
        "losses.latent": one_of(
            ("characteristic", "white", "mmd_official", "mmd_patch", "wasserstein", "sliced_wasserstein", "none")
        ),
        "losses.prior": one_of(("normal", "zeros", "uniform", "ones")),
        "losses.storage.kind": one_of(("float", "round", "dither", "jpeg")),
        "losses.coarse_weight": at_least(0),
        "losses.latent_weight": at_least(0),
        "losses.background_weight": at_least(0),
        "losses.storage.bits": between(1, 16),
        "losses.storage.quality": between(1, 100),
        "model.fusioninn.sources": _SOURCES,
        "model.fusioninn.formulation": one_of(("linear", "logit", "official")),
        "model.fusioninn.opening": one_of(("salient_mean", "mean")),
        "model.fusioninn.actnorm": one_of(("batch", "identity")),
        "model.fusioninn.permutation": one_of(("", "rotate", "swap", "random")),
        "model.fusioninn.squeeze": one_of(("", "haar", "pixel")),
        "model.fusioninn.backward": one_of(("stored", "rebuilt")),
        "model.fusioninn.blocks": between(0, 64),
        "model.fusioninn.levels": each_in(0, 6),
        "model.fusioninn.widths": each_in(1, 4096),
        "model.fusioninn.clamp": above(0, 20),
        "model.fusioninn.permutation_seed": between(0, _WORDS),
        "model.fusioninn.shrinkage": above(0, 0.5),
        "model.fusioninn.dtype": one_of(("float32", "bfloat16", "float16", "float64")),
        "model.deepfuse.width": _WIDTH,
        "model.funfusean.width": _WIDTH,
        "model.half_unet.width": _WIDTH,
        "model.half_unet.sources": between(1, 64),  # one: a segmentation network, as published
        "model.unet.width": _WIDTH,
        "model.unet.sources": _SOURCES,
        "model.unet_plus_plus.width": _WIDTH,
        "model.unet_plus_plus.sources": _SOURCES,
        "model.unet_3plus.width": _WIDTH,
        "model.unet_3plus.sources": _SOURCES,
        "model.ddfm.image_channels": Rule(lambda channels: channels in (1, 3), "1 or 3"),
        "model.ddfm.channels": _WIDTH,
        "model.ddfm.multipliers": Rule(
            lambda of_levels: len(of_levels) > 0 and min(of_levels) > 0, "whole numbers above 0, such as 1,2"
        ),
        "model.ddfm.blocks": between(1, 64),
        "model.ddfm.attention": each_in(1, 2**16),
        "model.ddfm.head_channels": _WIDTH,
        "model.ddfm.diffusion_steps": between(2, 100_000),
        "model.ddfm.steps": at_least(1),
        "model.ddfm.lam": at_least(0),
        "model.ddfm.rho": above(0),
        "model.ddfm.noise_seed": between(0, _WORDS),
        "optimizer.learning_rate": at_least(0),
        "optimizer.schedule": one_of(("cosine", "plateau", "constant")),
        "optimizer.warmup_steps": at_least(0),
        "optimizer.clip_norm": at_least(0),
        "optimizer.ema": Rule(lambda decay: 0 <= decay < 1, "0 for none, or a decay below 1"),
        "optimizer.plateau_factor": above(0, 1),
        "optimizer.plateau_patience": at_least(0),
        "checkpoint.keep_last": at_least(1),
        "checkpoint.keep_best": at_least(0),
        "train.batch_size": at_least(1),
        "train.steps": at_least(1),
        "train.epochs": at_least(0),
        "train.eval_every": at_least(1),
        "train.eval_batch_size": at_least(0),
        "train.log_every": at_least(1),
    }
)


def below(part: str) -> dict[str, Rule]:
    """The rules of `part` of the settings, such as "model.unet", by their names within it; "" for all."""
    start = f"{part}." if part else ""
    return {name[len(start) :]: rule for name, rule in LIMITS.items() if name.startswith(start)}
