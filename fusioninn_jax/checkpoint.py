"""Saving and restoring. Orbax lives here, alone.

A checkpoint holds the state and a JSON record (`meta`): the step and the whole configuration with the permutations
that were drawn, so that a model is rebuilt from its checkpoint and from nothing else.
"""
from __future__ import annotations

import json
import logging
import pathlib
from typing import Any

import jax
import ml_collections
import orbax.checkpoint as ocp

from fusioninn_jax import models
from fusioninn_jax.errors import UserError
from fusioninn_jax.models import FusionModel
from fusioninn_jax.train_state import TrainState

logging.getLogger("absl").setLevel(logging.WARNING)  # Orbax tells every step of every save

FOLDER = "checkpoints"
BEST_METRIC = "validation_loss"


def default_config() -> ml_collections.ConfigDict:
    """What is kept."""
    config = ml_collections.ConfigDict()
    config.keep_last = 2
    config.keep_best = 1  # by validation loss
    return config


def make_manager(workdir: str | pathlib.Path, config: ml_collections.ConfigDict) -> ocp.CheckpointManager:
    """An asynchronous manager of `workdir`/checkpoints that keeps the last and the best."""
    policies = ocp.checkpoint_managers
    preserve = policies.AnyPreservationPolicy([
        policies.LatestN(config.keep_last),
        policies.BestN(get_metric_fn=lambda metrics: metrics[BEST_METRIC], reverse=True, n=config.keep_best,
                       keep_checkpoints_without_metrics=False),
    ])
    options = ocp.CheckpointManagerOptions(preservation_policy=preserve, best_fn=lambda m: m[BEST_METRIC],
                                           best_mode="min")
    return ocp.CheckpointManager(_folder(workdir), options=options)


def _folder(workdir: str | pathlib.Path) -> pathlib.Path:
    return (pathlib.Path(workdir).expanduser() / FOLDER).absolute()


def save(manager: ocp.CheckpointManager, state: TrainState, config: ml_collections.ConfigDict,
         validation_loss: float | None = None) -> None:
    """Starts saving `state` under its step; does nothing where that step is saved already."""
    step = int(state.step)
    if step in manager.all_steps():
        return
    meta = {"step": step, "config": json.loads(config.to_json())}
    metrics = None if validation_loss is None else {BEST_METRIC: validation_loss}
    manager.save(step, args=ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta)),
                 metrics=metrics)


def restore_latest(manager: ocp.CheckpointManager, state: TrainState,
                   config: ml_collections.ConfigDict) -> TrainState | None:
    """The newest checkpoint, or None where there is none.

    Args:
      manager: from `make_manager`.
      state: one of the right shapes, whose values are not used.
      config: the run's configuration.

    Raises:
      UserError: the checkpoint is of another architecture.
    """
    step = manager.latest_step()
    if step is None:
        return None
    meta = manager.restore(step, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
    _check_same_model(meta["config"]["model"], json.loads(config.to_json())["model"], manager.directory)
    abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
    return manager.restore(step, args=ocp.args.Composite(state=ocp.args.StandardRestore(abstract))).state


def _check_same_model(saved: dict[str, Any], wanted: dict[str, Any], where: Any) -> None:
    """Raises UserError at the first setting of the model that differs."""
    settings = {"name": (saved["name"], wanted["name"])}
    if saved["name"] == wanted["name"]:
        of_saved, of_wanted = saved.get(saved["name"], {}), wanted.get(wanted["name"], {})
        settings |= {key: (of_saved.get(key), of_wanted.get(key)) for key in of_wanted if key != "backward"}
    for key, (theirs, ours) in settings.items():
        if theirs != ours:
            raise UserError(f"{where}: the checkpoint there is of another architecture ({key} is {theirs!r}, this run "
                            f"asks for {ours!r}); use another --workdir or that setting")


def newest_step(workdir: str | pathlib.Path) -> int | None:
    """The step of the newest complete checkpoint, or None where there is none."""
    folder = _folder(workdir)
    return max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=None) \
        if folder.is_dir() else None


def latest_or_best_step(manager: ocp.CheckpointManager, which: str) -> int:
    """The step of the `best` (by validation loss) or `last` checkpoint."""
    step = manager.best_step() if which == "best" else manager.latest_step()
    step = manager.latest_step() if step is None else step
    if step is None:
        raise UserError(f"{manager.directory}: no checkpoint there; train first: "
                        "`python -m fusioninn_jax.train --config=configs/phantom.py --workdir=...`")
    return step


def load(workdir: str | pathlib.Path,
         which: str = "best") -> tuple[FusionModel, Any, ml_collections.ConfigDict, int]:
    """A trained model from a workdir.

    Args:
      workdir: as given to `train`.
      which: `best` (by validation loss) or `last`.

    Returns:
      (model, variables, configuration, step).

    Raises:
      UserError: no workdir or no checkpoint in it.
    """
    if not _folder(workdir).is_dir():
        raise UserError(f"{workdir}: no checkpoints there; give the --workdir that a training wrote")
    with ocp.CheckpointManager(_folder(workdir), options=ocp.CheckpointManagerOptions(
            best_fn=lambda m: m[BEST_METRIC], best_mode="min", read_only=True),
            item_handlers={"state": ocp.StandardCheckpointHandler(), "meta": ocp.JsonCheckpointHandler()}) as manager:
        step = latest_or_best_step(manager, which)
        restored = manager.restore(step, args=ocp.args.Composite(
            meta=ocp.args.JsonRestore(), state=ocp.args.StandardRestore()))
    config = ml_collections.ConfigDict(restored.meta["config"])
    model = models.get(config.model.name, config.model[config.model.name])
    return model, TrainState(**restored.state).evaluated, config, step
