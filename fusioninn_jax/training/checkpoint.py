"""Saving and restoring. Orbax lives here, alone.

A checkpoint holds the state and a JSON record (`meta`): the step, the whole configuration with the permutations that
were drawn, so that a model is rebuilt from its checkpoint and from nothing else, and checksums of every array and of
the record itself, so that a damaged checkpoint is never taken for a good one.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeVar

import jax
import ml_collections
import numpy as np
from etils import epath, epy

from fusioninn_jax import models
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.guarded import Damaged
from fusioninn_jax.trained_model import TrainedModel
from fusioninn_jax.training import checkpoint_folders as folders
from fusioninn_jax.training import integrity
from fusioninn_jax.training.checkpoint_folders import Folder
from fusioninn_jax.training.train_state import TrainState

with epy.lazy_imports():  # it takes seconds, which a command's help would wait for
    import orbax.checkpoint as ocp

Tree = TypeVar("Tree")  # of arrays

BEST_METRIC = "validation_loss"
TIMEOUT = 120  # seconds that processes wait for one another in a save, where one of them failed


class Restored(NamedTuple):
    """A state as saved, on this process (NumPy arrays), and whether it was evaluated before it was saved."""

    state: TrainState
    evaluated: np.bool_


def make_manager(workdir: Folder, config: ml_collections.ConfigDict) -> ocp.CheckpointManager:
    """An asynchronous manager of `workdir`/checkpoints that keeps the last and the best.

    It belongs to all processes, which save together; what an interrupted save left is removed.

    Args:
      workdir: of the run.
      config: `settings.CHECKPOINT`.
    """
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # a save that fails is told below, in one line
    policies = ocp.checkpoint_managers
    preserve = policies.AnyPreservationPolicy(
        [
            policies.LatestN(config.keep_last),
            policies.BestN(
                get_metric_fn=lambda metrics: metrics[BEST_METRIC],
                reverse=True,
                n=config.keep_best,
                keep_checkpoints_without_metrics=False,
            ),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=preserve,
        best_fn=lambda m: m[BEST_METRIC],
        best_mode="min",
        cleanup_tmp_directories=True,
        async_options=ocp.AsyncOptions(timeout_secs=TIMEOUT),
    )
    return ocp.CheckpointManager(folders.of(workdir), options=options)


@contextlib.contextmanager
def managed(workdir: Folder, config: ml_collections.ConfigDict) -> Iterator[ocp.CheckpointManager]:
    """A manager whose last save is waited for at the end of the block; one process that fails of several waits not.

    Args:
      workdir: of the run.
      config: `settings.CHECKPOINT`.
    """
    manager = make_manager(workdir, config)
    try:
        yield manager
    except BaseException:
        if jax.process_count() == 1:  # else the others may never come to close it
            finish(manager)
            manager.close()
        raise
    finish(manager)
    manager.close()


def save(
    manager: ocp.CheckpointManager,
    state: TrainState,
    config: ml_collections.ConfigDict,
    validation_loss: float | None = None,
) -> None:
    """Starts saving `state` under its step; all processes together.

    A step that is saved already stays, but an evaluated state replaces one that was not evaluated. A save that fails,
    on a full disk for example, is told in one line, here or by `finish`; the older checkpoints stay.

    Args:
      manager: from `make_manager`.
      state: the same on every process.
      config: of the run, kept with it.
      validation_loss: of this state; None where it was not evaluated.
    """
    finish(manager)
    host = jax.device_get(state)
    step = int(host.step)
    if step in manager.all_steps():
        if validation_loss is None or manager.metrics(step):
            return
        manager.delete(step)
    meta = {
        "step": step,
        "config": json.loads(config.to_json()),
        "arrays": integrity.describe(host),
        BEST_METRIC: validation_loss,
    }
    try:
        manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(_on_all_processes(host)), meta=ocp.args.JsonSave(integrity.seal(meta))
            ),
            metrics=None if validation_loss is None else {BEST_METRIC: validation_loss},
        )
    except Exception as error:  # Orbax and TensorStore raise many kinds
        _tell_failure(manager, error)


def _on_all_processes(state: TrainState) -> TrainState:
    """One replicated array over the devices of all processes for each leaf, which Orbax saves once."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("devices",))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(everywhere, np.asarray(x)), state)


def finish(manager: ocp.CheckpointManager) -> None:
    """Waits for the save under way, and says so where it failed.

    Args:
      manager: from `make_manager`.
    """
    try:
        manager.wait_until_finished()
    except Exception as error:
        _tell_failure(manager, error)


def _tell_failure(manager: ocp.CheckpointManager, error: Exception) -> None:
    """Says it in one line, and frees the disk of what was half-written."""
    manager.reload()
    if jax.process_index() == 0:
        folders.tell_failed_save(manager.directory, error)


def restore_latest(workdir: Folder, state: TrainState, config: ml_collections.ConfigDict) -> Restored | None:
    """The newest intact checkpoint, or None where there is no checkpoint; for one process, without the others.

    A damaged one is told in one line and renamed, so that it is no longer taken for a checkpoint.

    Args:
      workdir: of the run.
      state: one of the right shapes, whose values are not used.
      config: the run's configuration.

    Raises:
      UserError: the checkpoint is of another architecture or optimiser, or all of them are damaged.
    """
    folder = folders.of(workdir)
    damaged: dict[int, str] = {}
    for step in reversed(folders.steps(folder)):
        try:
            found = _read(folder / str(step), state, config)
        except Exception as error:  # whatever reading meets: gone files, torn JSON, TensorStore's own errors
            if isinstance(error, UserError | PermissionError):
                raise
            damaged[step] = folders.short(error)
            continue
        for bad, why in damaged.items():
            folders.set_aside(folder / str(bad), why, step)
        return found
    if damaged:
        raise UserError(
            f"{folder}: every checkpoint there is damaged ({', '.join(map(str, damaged))}; the newest: "
            f"{next(iter(damaged.values()))}); remove the folder to start anew"
        )
    return None


def _read(folder: epath.Path, state: TrainState, config: ml_collections.ConfigDict) -> Restored:
    """One checkpoint, checked against its checksums."""
    reader = _reader()
    meta = _read_meta(reader, folder)
    integrity.check_same_model(meta["config"]["model"], json.loads(config.to_json())["model"], folder.parent)
    if "arrays" in meta:
        integrity.check_same_shapes(meta["arrays"], state, folder.parent)
    read = _read_state(reader, folder, meta, state)
    return Restored(read, np.bool_(meta.get(BEST_METRIC) is not None or "arrays" not in meta))


def _reader() -> ocp.Checkpointer:
    """Reads checkpoints on this process without the others."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # what fails is told by the caller, in one line
    alone = ocp.options.MultiprocessingOptions(primary_host=jax.process_index(), active_processes={jax.process_index()})
    return ocp.Checkpointer(
        ocp.CompositeCheckpointHandler(
            state=ocp.StandardCheckpointHandler(),
            meta=ocp.JsonCheckpointHandler(),
            metrics=ocp.JsonCheckpointHandler(filename="metrics"),
        ),
        multiprocessing_options=alone,
    )


def _read_meta(reader: ocp.Checkpointer, folder: epath.Path) -> dict[str, Any]:
    """The record of a checkpoint; those from before there were checksums have none."""
    meta = reader.restore(folder, args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
    if integrity.SEAL in meta or "arrays" in meta:
        integrity.check_seal(meta)
    return meta


def _read_state(reader: ocp.Checkpointer, folder: epath.Path, meta: dict[str, Any], like: Tree) -> Tree:
    """The arrays of a checkpoint, in a tree like `like`, checked against its record's checksums where it has them."""
    target = jax.tree.map(lambda array: np.empty(array.shape, array.dtype), like)
    read = reader.restore(folder, args=ocp.args.Composite(state=ocp.args.StandardRestore(target))).state
    if "arrays" in meta:
        integrity.check(read, meta["arrays"])
    return read


def load(workdir: Folder, which: str = "best") -> TrainedModel:
    """A trained model from a workdir; for one process, without the others.

    Args:
      workdir: as given to `train`.
      which: `best` (by validation loss) or `last`.

    Returns:
      the model with the configuration of its training and the step of the checkpoint.

    Raises:
      UserError: no workdir, no checkpoint in it, or a damaged one.
    """
    folder = folders.of(workdir)
    if not folder.is_dir():
        raise UserError(f"{workdir}: no checkpoints there; give the --workdir that a training wrote")
    reader = _reader()
    step, loss = _choose(reader, folder, which)
    try:
        meta = _read_meta(reader, folder / str(step))
        if loss < math.inf and meta.get(BEST_METRIC, loss) != loss:
            raise Damaged("its validation loss is not the one that was saved")
        saved = reader.metadata(folder / str(step)).item_metadata["state"].tree
        read = _read_state(reader, folder / str(step), meta, saved)
    except Exception as error:
        raise UserError(
            f"{folder / str(step)}: damaged ({folders.short(error)}); choose another by --checkpoint, or resume "
            "the training, which goes on from the one before"
        ) from error
    config = ml_collections.ConfigDict(meta["config"])
    model = models.get(config.model.name, config.model[config.model.name])
    return TrainedModel(model, TrainState(**read).evaluated, config, step)


def _choose(reader: ocp.Checkpointer, folder: epath.Path, which: str) -> tuple[int, float]:
    """The step of the `best` (by validation loss) or `last` checkpoint, and that loss (infinite: not evaluated)."""
    losses = {step: _validation_loss(reader, folder / str(step)) for step in folders.steps(folder)}
    if not losses:
        raise UserError(
            f"{folder}: no checkpoint there; train first: "
            "`python -m fusioninn_jax.train --config=configs/phantom.py --workdir=...`"
        )
    evaluated = [step for step, loss in losses.items() if loss < math.inf]
    step = min(evaluated, key=lambda step: losses[step]) if which == "best" and evaluated else max(losses)
    return step, losses[step]


def _validation_loss(reader: ocp.Checkpointer, folder: epath.Path) -> float:
    """As the manager keeps it beside the state; infinite where it is missing or unreadable."""
    try:
        read = reader.restore(folder, args=ocp.args.Composite(metrics=ocp.args.JsonRestore()))
        return float(read.metrics[BEST_METRIC])
    except Exception:  # a state that was not evaluated has none
        return math.inf
