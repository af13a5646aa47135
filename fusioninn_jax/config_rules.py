"""What every setting of a training may be."""
from __future__ import annotations

import ml_collections

from fusioninn_jax import config_check, input_pipeline, losses, models, storage
from fusioninn_jax.config_check import Rule, above, at_least, between, one_of, size
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.training import train_state

RULES = {
    "seed": between(0, 2**31 - 1),
    "data.crop": size(1),
    "data.normalisation": one_of(input_pipeline.NORMALISATIONS),
    "data.shuffle_buffer": at_least(1),
    "augment.rotation": between(0, 360),
    "augment.gamma": between(0, 10),
    "losses.alpha": between(0, 1),
    "losses.lam": between(0, 1),
    "losses.reduction": one_of(losses.REDUCTIONS),
    "losses.latent": one_of(losses.LATENT_LOSSES),
    "losses.latent_weight": at_least(0),
    "losses.background_weight": at_least(0),
    "losses.prior": one_of(losses.LATENT_PRIORS),
    "losses.storage.kind": one_of(storage.KINDS),
    "losses.storage.bits": between(1, 16),
    "losses.storage.quality": between(1, 100),
    "optimizer.learning_rate": at_least(0),
    "optimizer.schedule": one_of(train_state.SCHEDULES),
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


def check(config: ml_collections.ConfigDict, defaults: ml_collections.ConfigDict) -> None:
    """Raises UserError where a setting is unknown, of another kind than its default, or out of range."""
    try:
        config_check.check(config, defaults, RULES, "config.")
        models.get(config.model.name, config.model[config.model.name])
    except ValueError as error:
        raise UserError(str(error)) from error
