"""Training: `python -m fusioninn_jax.train --config=configs/phantom.py --workdir=runs/x [--config.key=value ...]`.

The same command again resumes where the last checkpoint left off, exactly. Ctrl-C and SIGTERM save first and end with
exit code 130 and 143, with --preempt_ok both with 0. The same command on every host of a TPU pod or of a Slurm step
trains on all of them; docs/SCALING.md has the flags for other machines.
"""

from __future__ import annotations

import contextlib
import functools
import signal
import time
from collections.abc import Iterator
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
import optax
from absl import flags

from fusioninn_jax import input_pipeline, models, objective, pretrained, settings
from fusioninn_jax.models.fusioninn import settled
from fusioninn_jax.objective import salts, settings_check
from fusioninn_jax.runtime import interrupts, places, processes, progress
from fusioninn_jax.runtime.command_line import run_with_config
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.scoring.target_pictures import with_targets
from fusioninn_jax.settings import config_check, limits, train_help
from fusioninn_jax.training import checkpoint, checkpoint_folders, parallel, run_lock, talk, train_state, validation
from fusioninn_jax.training.train_log import METRICS_FILE, TrainLog, read_lines
from fusioninn_jax.training.validation import validate


class _Run(NamedTuple):
    """What a training works with from its first step to its last."""

    config: ml_collections.ConfigDict
    workdir: str
    model: models.FusionModel
    optimizer: optax.GradientTransformation
    train_step: parallel.TrainStep
    prepared: input_pipeline.Prepared
    devices: list[jax.Device]


class Outcome(NamedTuple):
    """How a training ended: its last state, and the signal that stopped it, None where it ran to its end."""

    state: train_state.TrainState
    stopped: int | None


def check_config(config: ml_collections.ConfigDict) -> None:
    """Raises UserError where a setting is unknown, of another kind than its default, out of range or unfit for others.

    Args:
      config: `settings.TRAINING`, perhaps with other names or values.
    """
    try:
        config_check.check(config, settings.defaults(), limits.below(""), "config.")
        model = models.get(config.model.name, config.model.to_dict().get(config.model.name))
        settings_check.check(model, config.losses)
    except ValueError as error:
        raise UserError(str(error)) from error


def settle(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy with the model's settings, and what it starts from, as training records them.

    Args:
      config: `settings.TRAINING`.
    """
    config = ml_collections.ConfigDict(config.to_dict())
    if config.model.name == "fusioninn":
        config.model.fusioninn = settled(config.model.fusioninn)
    config.start = pretrained.settle_start(config)
    return config


def resolve(config: ml_collections.ConfigDict, prepared: input_pipeline.Prepared) -> ml_collections.ConfigDict:
    """Fills in what follows from other settings and from the data, so that a checkpoint records it.

    Args:
      config: `settings.TRAINING`.
      prepared: the dataset.

    Raises:
      UserError: the data has other modalities than the model takes, or too few slices.
    """
    config = settle(config)
    if not prepared.sizes.get("train"):
        raise UserError(f"{prepared.builder.data_dir}: has no slices to train on; prepare it with a split 'train'")
    if config.train.epochs:
        config.train.steps = max(1, config.train.epochs * prepared.sizes["train"] // config.train.batch_size)
    config.train.eval_batch_size = config.train.eval_batch_size or config.train.batch_size
    wanted = models.get(config.model.name, config.model[config.model.name]).sources
    if wanted not in (None, len(prepared.modalities)):
        can_change = "sources" in config.model[config.model.name]
        raise UserError(
            f"{prepared.builder.data_dir}: holds {len(prepared.modalities)} modalities "
            f"({', '.join(prepared.modalities)}), the model takes {wanted}; "
            f"prepare the dataset with {wanted}"
            + (f", or set --config.model.{config.model.name}.sources" if can_change else "")
        )
    return config


def _batches(
    prepared: input_pipeline.Prepared, config: ml_collections.ConfigDict, first_step: int = 0
) -> Iterator[input_pipeline.Batch]:
    """This process's rows of the batches of training."""
    return input_pipeline.train_batches(
        prepared,
        config.data,
        batch_size=config.train.batch_size,
        seed=config.seed,
        first_step=first_step,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def initial_state(
    model: models.FusionModel,
    optimizer: optax.GradientTransformation,
    config: ml_collections.ConfigDict,
    prepared: input_pipeline.Prepared,
) -> train_state.TrainState:
    """The state before step 0; what adapts to data adapts to the whole first global batch, which all devices share.

    Args:
      model: the system.
      optimizer: from `train_state.make_optimizer`.
      config: from `resolve`.
      prepared: the dataset.
    """
    first = next(_batches(prepared, config))
    height, width = first["sources"].shape[1:3]
    validation.check_size(
        model, height, width, f"{config.data.dataset}: training images", "set a larger --config.data.crop"
    )
    if height % model.multiple or width % model.multiple:
        raise UserError(
            f"{config.data.dataset}: images of {height}x{width}; the model needs multiples of "
            f"{model.multiple}: set --config.data.crop={height // model.multiple * model.multiple},"
            f"{width // model.multiple * model.multiple}"
        )
    key = jax.random.fold_in(jax.random.key(config.seed), salts.INITIALISATION)
    variables = parallel.initialise(model, key, first["sources"], parallel.all_devices())
    if config.start:
        variables = pretrained.weights_for(config.start, variables, config)
    return train_state.create(variables, optimizer, config.optimizer)


def _programs(
    config: ml_collections.ConfigDict, devices: list[jax.Device]
) -> tuple[models.FusionModel, optax.GradientTransformation, parallel.TrainStep]:
    """Model, optimiser and training step; those of an earlier run where nothing that they read has changed."""
    read = {name: config[name] for name in ("model", "optimizer", "losses", "augment", "train")}
    return _programs_of(ml_collections.FrozenConfigDict(read), tuple(devices))


@functools.lru_cache(maxsize=2)  # the runs of a sweep over seeds or data compile once
def _programs_of(
    config: ml_collections.FrozenConfigDict, devices: tuple[jax.Device, ...]
) -> tuple[models.FusionModel, optax.GradientTransformation, parallel.TrainStep]:
    model = models.get(config.model.name, config.model[config.model.name])
    optimizer = train_state.make_optimizer(config.optimizer, config.train.steps)
    return model, optimizer, parallel.make_train_step(model, optimizer, config, list(devices))


def _start(of: _Run) -> tuple[train_state.TrainState, bool]:
    """The state to go on from, process 0's on every process, and whether its evaluation is done."""
    state = initial_state(of.model, of.optimizer, of.config, of.prepared)
    restored = checkpoint.restore_latest(of.workdir, state, of.config) if processes.is_first() else None
    state, evaluated = processes.broadcast(restored or checkpoint.Restored(state, np.bool_(False)))
    return state, bool(evaluated)


def _check_finite(metrics: dict[str, jax.Array], step: int, numbers: np.ndarray) -> None:
    if not np.isfinite(float(metrics["loss"])) or not np.isfinite(float(metrics["gradient_norm"])):
        of_all = [number for of_process in processes.gather(numbers.tolist()) for number in of_process]
        raise UserError(
            f"step {step}: the loss is {float(metrics['loss'])}, its gradient's norm "
            f"{float(metrics['gradient_norm'])}, on the training slices numbered {of_all}; "
            "look at those slices, or lower --config.optimizer.learning_rate"
        )


def train_and_evaluate(config: ml_collections.ConfigDict, workdir: str) -> train_state.TrainState:
    """Trains until `config.train.steps`, from the newest intact checkpoint in `workdir` where there is one.

    All processes call it; the result does not depend on how many they are. In the main thread Ctrl-C and SIGTERM save
    and end it early; in other threads and in notebooks there is a warning instead.

    Args:
      config: `settings.TRAINING`.
      workdir: gets `checkpoints/`, `metrics.jsonl` (a line an evaluation), `train_log.jsonl` (a line every
        `log_every` steps) and TensorBoard files.

    Returns:
      the last state.

    Raises:
      UserError: bad settings or data, a checkpoint of another architecture, another run in `workdir`, a loss that is
        not finite, or a last checkpoint that could not be written.
    """
    return run(config, workdir).state


def run(config: ml_collections.ConfigDict, workdir: str) -> Outcome:
    """As `train_and_evaluate`; tells besides whether a signal ended it.

    Args:
      config: `settings.TRAINING`.
      workdir: see `train_and_evaluate`.
    """
    check_config(config)
    devices = parallel.all_devices()
    parallel.check_batch(config.train.batch_size, len(devices))
    prepared = input_pipeline.open_dataset(config.data)
    config = resolve(config, prepared)
    prepared = with_targets(prepared, config)
    parallel.check_batch(config.train.eval_batch_size, len(devices), "--config.train.eval_batch_size")
    whole = _Run(config, workdir, *_programs(config, devices), prepared, devices)
    with run_lock.hold(workdir) if processes.is_first() else contextlib.nullcontext():
        state, evaluated = _start(whole)
        if processes.is_first():
            print(
                *talk.opening(devices, prepared, config, state.variables, int(state.step), workdir),
                sep="\n",
                flush=True,
            )
        return _train(whole, state, evaluated)


def _train(of: _Run, state: train_state.TrainState, evaluated: bool) -> Outcome:
    """The loop, from `state` on."""
    config, workdir, model, _, train_step, prepared, devices = of
    state, step, key = parallel.replicate(state, devices), int(state.step), jax.random.key(config.seed)
    own, over = len(parallel.own_devices(devices)), (prepared, config, devices)
    batches = _batches(prepared, config, step)
    log = TrainLog(workdir, config, prepared.modalities, step, evaluated)
    bar, begun, at = progress.bar(config.train.steps, "training", "steps", initial=step), step, time.monotonic()
    say = bar.write if processes.is_first() else lambda line: None
    compiling: contextlib.AbstractContextManager[object] = talk.compiling(say, "validation")
    with checkpoint.managed(workdir, config.checkpoint) as manager, processes.Stop() as stop, bar, log:
        while True:
            due = step > 0 and (step % config.train.eval_every == 0 or step == config.train.steps)
            if due and not evaluated:
                started = time.time()
                results = validate(model, state.evaluated, *over, interrupted=stop.requested, compiling=compiling)
                compiling = contextlib.nullcontext()
                if results is None:
                    break
                state = train_state.after_evaluation(state, results.means["loss"], config.optimizer)
                log.evaluation(step, results, time.time() - started)
                checkpoint.save(manager, state, config, results.means["loss"])
                say(talk.scores(step, results.means, prepared.modalities))
            if step >= config.train.steps or stop.requested():
                break
            batch = next(batches)
            slices = objective.slices_of(batch)
            with talk.compiling(say) if step == begun else contextlib.nullcontext():
                state, metrics = train_step(state, parallel.split_batch(slices, own), key)
            step, evaluated = step + 1, False
            _check_finite(metrics, step, batch["number"])
            bar.update()
            log.step(step, metrics, bar)
        if stop.requested():
            checkpoint.save(manager, state, config)
            assert stop.number is not None
            say(f"stopped by {signal.Signals(stop.number).name} at step {step}; the same command resumes there")
    checkpoint_folders.check_written(workdir, step)
    if step >= config.train.steps and processes.is_first():
        say(_closing(of, step, time.monotonic() - at))
    return Outcome(state, stop.number)


def _closing(of: _Run, step: int, seconds: float) -> str:
    """What is said at the end."""
    kept = checkpoint_folders.steps(checkpoint_folders.of(of.workdir))
    evaluations = read_lines(places.folder(of.workdir, "--workdir") / METRICS_FILE)
    return talk.closing(of.workdir, of.prepared, step, seconds, kept, evaluations)


def _command(config: ml_collections.ConfigDict, workdir: str) -> int:
    """Trains; the exit code says whether a signal ended it."""
    stopped = run(config, workdir).stopped
    if stopped is None or flags.FLAGS.preempt_ok:
        return 0
    processes.part()
    return interrupts.exit_code(stopped)


if __name__ == "__main__":
    flags.DEFINE_bool("preempt_ok", False, "exit code 0 also where SIGTERM or Ctrl-C ended the run, after saving")
    run_with_config(_command, train_help.text)
