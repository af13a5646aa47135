"""The one shape that a loaded model has, wherever it was loaded from."""

from __future__ import annotations

from typing import NamedTuple

import ml_collections

from fusioninn_jax import models, settings
from fusioninn_jax.models import FusionModel, Variables, ddfm
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.trained_model.calibration import Calibration


class TrainedModel(NamedTuple):
    """A fusion system ready to use.

    Attributes:
      model: its functions.
      variables: its weights.
      config: of its training, or the part of it that using the model needs, `pretrained.describe`.
      step: of the checkpoint; -1 where none was taken, as for a training-free system.
      calibration: from the spread of its draws to their error; None: not learnt, or not asked for.
    """

    model: FusionModel
    variables: Variables
    config: ml_collections.ConfigDict
    step: int = -1
    calibration: Calibration | None = None

    @property
    def name(self) -> str:
        """As in `models.get`."""
        return self.config.model.name

    @property
    def prior(self) -> str:
        """Of its latent, one of `losses.LATENT_PRIORS`."""
        return self.config.prior if "prior" in self.config else self.config.losses.prior


def training_free(name: str) -> TrainedModel:
    """A system that needs no training, with the default configuration.

    Args:
      name: as in `models.get`.

    Raises:
      ValueError: an unknown name.
      UserError: it needs training.
    """
    model = models.get(name)
    if not model.training_free:
        how = ddfm.HOW_TO_GET if name == "ddfm" else "train it and give its workdir"
        raise UserError(f"{name}: needs training; {how}")
    config = settings.defaults()
    config.model.name = name
    return TrainedModel(model, {"params": {}}, config)
