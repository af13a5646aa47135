"""Our side of the benchmarks: the model, a training step, and PyTorch's weights in it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.timing import SIZE, brains
from fusioninn_jax import models, objective, settings
from fusioninn_jax.training import parallel, train_state

FORMULATIONS = ("logit", "official")


def configuration(formulation: str = "official", **model: Any) -> Any:
    """The published loss and Adam at 3e-4 without augmentation; the model as `formulation` has it, then as `model`."""
    config = settings.defaults()
    config.optimizer.update(learning_rate=3e-4, schedule="constant", clip_norm=0.0)
    config.augment.flip = False
    config.losses = settings.paper_losses()
    if formulation == "official":
        config.model.fusioninn = settings.official_fusioninn()
    config.model.fusioninn.update(model)
    return config


def sources(batch: int, size: int = SIZE) -> np.ndarray:
    """(batch, size, size, 2) synthetic pairs."""
    return np.concatenate([brains(1, batch, size), brains(2, batch, size)], -1)


class Ours:
    """The model, ready to be timed on a batch of (B, H, W, 2) pairs."""

    def __init__(self, config: Any, pairs: np.ndarray, variables: Any = None, devices: int = 1) -> None:
        self.model = models.get("fusioninn", config.model.fusioninn)
        self.pairs = objective.split_sources(jax.device_put(pairs))
        if variables is None:
            variables = jax.jit(self.model.init)(jax.random.key(0), *self.pairs)
        self.variables = jax.tree.map(jnp.array, variables)
        used = jax.devices()[:devices]
        optimizer = train_state.make_optimizer(config.optimizer, 1000)
        self.state = parallel.replicate(train_state.create(self.variables, optimizer, config.optimizer), used)
        self.variables = jax.tree.map(jnp.array, self.variables)  # the step's donation must not take these
        self._step = parallel.make_train_step(self.model, optimizer, config, used)
        self._batch = parallel.split_batch(objective.Slices(pairs), devices)
        self._fuse, self._decompose = jax.jit(self.model.fuse), jax.jit(self.model.decompose)

    def step(self) -> float:
        """One training step, its draws of noise included; returns the loss before it."""
        self.state, metrics = self._step(*self.step_call()[1:])
        return float(metrics["loss"])

    def step_call(self) -> tuple[Any, ...]:
        """The compiled-on-call function of a step and its arguments."""
        return self._step, self.state, self._batch, jax.random.key(0)

    def fuse_call(self) -> tuple[Any, ...]:
        """The same of `fuse`."""
        return self._fuse, self.variables, *self.pairs

    def fuse(self) -> Any:
        return jax.block_until_ready(self._fuse(self.variables, *self.pairs))

    def decompose(self, fused: Any, latent: Any) -> Any:
        return jax.block_until_ready(self._decompose(self.variables, fused, latent))
