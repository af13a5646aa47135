"""Settings of the loss that cannot be had, or do not go together: told before any data are read."""

from __future__ import annotations

import ml_collections

from fusioninn_jax.models import FusionModel
from fusioninn_jax.objective import fusion_targets


def check(model: FusionModel, config: ml_collections.ConfigDict) -> None:
    """Looks at what the model is trained towards, and at its latent's prior.

    Args:
      model: the system to train.
      config: `settings.LOSSES`.

    Raises:
      ValueError: a target that is no rule, or a prior that the latent's loss does not know.
    """
    target = config.fusion_target
    if target not in ("", fusion_targets.SOURCES) and not fusion_targets.is_folder(target):
        fusion_targets.parse(target)
    if model.decompose and config.latent == "characteristic":
        check_prior(config.prior)


def check_prior(prior: str) -> None:
    """Raises ValueError where the characteristic loss does not know the prior.

    Args:
      prior: one of `losses.LATENT_PRIORS`.
    """
    if prior != "normal":
        raise ValueError(
            f"losses.latent is 'characteristic', which knows the prior N(0, I) alone, but losses.prior is "
            f"{prior!r}; set --config.losses.latent=white"
        )
