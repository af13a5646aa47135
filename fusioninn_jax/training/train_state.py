"""What training carries from step to step, and the optimiser that moves it."""

from __future__ import annotations

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import ml_collections
import optax

from fusioninn_jax.models import Variables

SCHEDULES = ("cosine", "plateau", "constant")


@flax.struct.dataclass
class TrainState:
    """A pytree.

    Attributes:
      step: optimiser steps taken, int32 scalar.
      variables: of the model: `params`, and `batch_stats` where it keeps them.
      opt_state: of the optimiser.
      plateau: of the plateau schedule; moves at evaluations only.
      average: the exponential moving average of the params; {} where none is kept.
    """

    step: jax.Array
    variables: Variables
    opt_state: optax.OptState
    plateau: optax.OptState
    average: optax.Params

    @property
    def evaluated(self) -> Variables:
        """The variables to evaluate and to keep: with the averaged params where an average is kept."""
        if not jax.tree.leaves(self.average):
            return self.variables
        return dict(self.variables) | {"params": self.average}


def make_schedule(config: ml_collections.ConfigDict, steps: int) -> optax.Schedule:
    """The learning rate by step, before any plateau.

    Args:
      config: `settings.OPTIMIZER`.
      steps: of the whole training.

    Raises:
      ValueError: an unknown schedule.
    """
    if config.schedule not in SCHEDULES:
        raise ValueError(f"optimizer.schedule is {config.schedule!r}; it must be one of {', '.join(SCHEDULES)}")
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        return optax.warmup_cosine_decay_schedule(0.0 if warmup else peak, peak, warmup, max(steps, warmup + 1))
    constant = optax.constant_schedule(peak)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), constant], [warmup]) if warmup else constant


def make_optimizer(config: ml_collections.ConfigDict, steps: int) -> optax.GradientTransformation:
    """Adam under the schedule, with optional clipping of the gradient's global norm.

    Args:
      config: `settings.OPTIMIZER`.
      steps: of the whole training.
    """
    adam = optax.adam(make_schedule(config, steps))
    return optax.chain(optax.clip_by_global_norm(config.clip_norm), adam) if config.clip_norm else adam


def _plateau(config: ml_collections.ConfigDict) -> optax.GradientTransformationExtraArgs:
    # optax lowers the rate at the patience-th bad evaluation, PyTorch at the one after it
    return optax.contrib.reduce_on_plateau(factor=config.plateau_factor, patience=config.plateau_patience + 1)


def create(
    variables: Variables, optimizer: optax.GradientTransformation, config: ml_collections.ConfigDict
) -> TrainState:
    """The state before the first step.

    Args:
      variables: from a model's `init`.
      optimizer: from `make_optimizer`.
      config: `settings.OPTIMIZER`.
    """
    params = variables["params"]
    return TrainState(
        jnp.zeros((), jnp.int32),
        variables,
        optimizer.init(params),
        _plateau(config).init(params),
        jax.tree.map(jnp.copy, params) if config.ema else {},
    )


def _averaged(average: optax.Params, params: optax.Params, step: jax.Array, decay: float) -> optax.Params:
    """One step of the moving average; early steps weigh more, so that it forgets the start of training."""
    share = jnp.maximum(1 - decay, 9 / (10 + step))
    return optax.incremental_update(params, average, share)


def apply_gradients(
    state: TrainState,
    gradients: optax.Updates,
    batch_stats: Variables,
    optimizer: optax.GradientTransformation,
    config: ml_collections.ConfigDict,
) -> TrainState:
    """One optimiser step; `config`: `settings.OPTIMIZER`.

    Args:
      state: before the step.
      gradients: like the params.
      batch_stats: after the step.
      optimizer: from `make_optimizer`.
      config: `settings.OPTIMIZER`.
    """
    params = state.variables["params"]
    updates, opt_state = optimizer.update(gradients, state.opt_state, params)
    updates = jax.tree.map(lambda u: u * state.plateau.scale.astype(u.dtype), updates)
    variables = dict(state.variables) | {"params": optax.apply_updates(params, updates)}
    if batch_stats:
        variables["batch_stats"] = batch_stats
    average = _averaged(state.average, variables["params"], state.step, config.ema) if config.ema else state.average
    return dataclasses.replace(state, step=state.step + 1, variables=variables, opt_state=opt_state, average=average)


def after_evaluation(state: TrainState, validation_loss: float, config: ml_collections.ConfigDict) -> TrainState:
    """Tells the plateau schedule the validation loss; other schedules are left alone.

    Args:
      state: that was evaluated.
      validation_loss: of it.
      config: `settings.OPTIMIZER`.
    """
    if config.schedule != "plateau":
        return state
    nothing = jax.tree.map(jnp.zeros_like, state.variables["params"])
    _, plateau = _plateau(config).update(nothing, state.plateau, value=jnp.float32(validation_loss))
    return dataclasses.replace(state, plateau=plateau)
