"""The step on every device of every process. pmap lives here, alone.

The state is one copy to the caller (no leading device axis); a batch is split over the devices along its first axis,
and each process brings and gets the rows of its own devices. Loss, gradients and every batch statistic are those of
the global batch, however many devices and processes share it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.flatten_util
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax

from fusioninn_jax import objective, score_names
from fusioninn_jax.latent_losses.latent_sums import Sums
from fusioninn_jax.models import FusionModel, Variables
from fusioninn_jax.objective import salts
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.training import train_state
from fusioninn_jax.training.train_state import TrainState

AXIS = "devices"
Tree = TypeVar("Tree")  # of arrays

TrainStep = Callable[[TrainState, objective.Slices, jax.Array], tuple[TrainState, dict[str, jax.Array]]]
EvalStep = Callable[[Variables, objective.Slices, jax.typing.ArrayLike, jax.Array], dict[str, jax.Array]]


def check_batch(batch_size: int, devices: int, flag: str = "--config.train.batch_size") -> None:
    """Raises UserError where the devices don't divide the batch.

    Args:
      batch_size: of the global batch.
      devices: of all processes.
      flag: what sets the size, for the message.
    """
    if batch_size % devices:
        near = max(devices, batch_size - batch_size % devices)
        raise UserError(f"{flag}={batch_size}: the {devices} devices don't divide it; use {flag}={near}")


def all_devices() -> list[jax.Device]:
    """The devices of all processes, process by process, so that a process's rows of a batch lie together."""
    return sorted(jax.devices(), key=lambda device: (device.process_index, device.id))


def own_devices(devices: list[jax.Device]) -> list[jax.Device]:
    """Those of this process.

    Args:
      devices: of all processes.
    """
    return [device for device in devices if device.process_index == jax.process_index()]


def split_batch(batch: Tree, devices: int) -> Tree:
    """(B, ...) arrays -> (devices, B / devices, ...).

    Args:
      batch: a tree of arrays.
      devices: how many this process has; they divide B.
    """
    return jax.tree.map(lambda x: np.reshape(x, (devices, -1, *x.shape[1:])), batch)


def merge_batch(batch: Any) -> Any:
    """Undoes `split_batch`, to NumPy arrays.

    Args:
      batch: a tree of arrays (devices, B / devices, ...).
    """
    return jax.tree.map(lambda x: np.asarray(x).reshape(-1, *x.shape[2:]), batch)


def replicate(tree: Tree, devices: list[jax.Device]) -> Tree:
    """Puts one copy on each of this process's devices, laid out as the steps give it back; else the second step
    compiles anew.

    Args:
      tree: of arrays.
      devices: of all processes.
    """
    mesh = jax.sharding.Mesh(np.array(own_devices(devices)), (AXIS,))
    return jax.device_put(tree, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))


def initialise(model: FusionModel, key: jax.Array, stack: np.ndarray, devices: list[jax.Device]) -> Variables:
    """`model.init` on the global batch, each device holding its share: XLA turns the statistics of the batch that the
    model adapts to into sums, and devices add those.

    Args:
      model: the system.
      key: the same on every process.
      stack: this process's rows, (B / processes, H, W, M).
      devices: of all processes, process by process.

    Returns:
      the variables as NumPy arrays.
    """
    mesh = jax.sharding.Mesh(np.array(devices), (AXIS,))
    by_rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(AXIS))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    rows = jax.make_array_from_process_local_data(by_rows, stack)

    def init(key: jax.Array, rows: jax.Array) -> Variables:
        return model.init(key, *objective.split_sources(rows))

    return jax.tree.map(np.asarray, jax.jit(init, out_shardings=everywhere)(key, rows))


def _gather(x: jax.Array) -> jax.Array:
    return jax.lax.all_gather(x, AXIS, tiled=True)


def _added(tree: Tree) -> Tree:
    """The sum over all devices of every array, in one all-reduce."""
    flat, back = jax.flatten_util.ravel_pytree(tree)
    return back(jax.lax.psum(flat, AXIS))


@jax.custom_vjp
def _share(sums: Sums) -> Sums:
    """The sums of all devices.

    The gradient is that of the sum of all devices' losses, as of any collective here. All make the same of the shared
    sums, so their cotangents are equal and adding them takes no second all-reduce.
    """
    return _added(sums)


_share.defvjp(lambda sums: (_added(sums), None), lambda _, g: (jax.tree.map(lambda x: x * jax.lax.axis_size(AXIS), g),))


def _example_keys(key: jax.Array, count: int) -> jax.Array:
    """A key for each of this device's examples, folded from its place in the global batch."""
    first = jax.lax.axis_index(AXIS) * count
    return jax.vmap(lambda i: jax.random.fold_in(key, first + i))(jnp.arange(count))


def make_train_step(
    model: FusionModel,
    optimizer: optax.GradientTransformation,
    config: ml_collections.ConfigDict,
    devices: list[jax.Device],
) -> TrainStep:
    """The training step, `(state, slices, key) -> (state, metrics)`.

    Args:
      model: the system.
      optimizer: from `train_state.make_optimizer`.
      config: the whole configuration; `losses` and `augment` are read.
      devices: of all processes, process by process.

    Returns:
      a function of the state (its buffers are donated), this process's `objective.Slices`, each array (D, B/D, ...),
      and the seed's key;
      its metrics are scalars of the global batch.
    """

    def step(state: TrainState, slices: objective.Slices, key: jax.Array) -> tuple[TrainState, dict[str, jax.Array]]:
        step_key = jax.random.fold_in(key, state.step)
        keys = _example_keys(step_key, len(slices.sources))
        augment_keys, loss_keys = jax.vmap(jax.random.split, out_axes=1)(keys)
        slices = jax.vmap(lambda k, example: objective.augment(k, example, config.augment))(augment_keys, slices)

        def loss(params: Any) -> tuple[jax.Array, tuple[dict[str, jax.Array], Any]]:
            parts, _, batch_stats = objective.loss_parts(
                model,
                {**state.variables, "params": params},
                slices,
                loss_keys,
                config.losses,
                train=True,
                gather=_gather,
                share=_share,
                step_key=jax.random.fold_in(step_key, salts.STATISTICS),
            )
            per_image = objective.per_image_loss(model, parts, config.losses)
            metrics = {name: jnp.mean(value) for name, value in {"loss": per_image, **parts._asdict()}.items()}
            return metrics["loss"], (metrics, batch_stats)

        gradients, aside = jax.grad(loss, has_aux=True)(state.variables["params"])
        own = jax.tree.map(lambda x: x / jax.lax.axis_size(AXIS), (gradients, *aside))
        gradients, metrics, batch_stats = _added(own)
        metrics["gradient_norm"] = optax.tree.norm(gradients)
        state = train_state.apply_gradients(state, gradients, batch_stats, optimizer, config.optimizer)
        return state, metrics

    return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0, None), out_axes=None, devices=devices, donate_argnums=(0,))


def make_eval_step(
    model: FusionModel, config: ml_collections.ConfigDict, devices: list[jax.Device], *, with_images: bool = False
) -> EvalStep:
    """The evaluation step, `(variables, slices, numbers, key) -> per-image results`.

    Batches and results are this process's, (D, B/D, ...).

    The noise of an image is folded from its number, so it depends neither on the devices nor on the batch size.

    Per image: the loss's parts (`latent_loss`, of the whole batch, with each of its images) and the SSIM scores of
    `objective.scores`; with `with_images` also `fused`, `latent` and `decomposed` (M channels).

    Args:
      model: the system.
      config: `settings.TRAINING`; `losses` is read.
      devices: of all processes.
      with_images: return images beside the scores.
    """
    stored = config.losses.storage
    storage = score_names.storage_name(stored.kind, stored.bits, stored.quality)

    def step(
        variables: Variables, slices: objective.Slices, numbers: jax.Array, key: jax.Array
    ) -> dict[str, jax.Array]:
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(numbers)
        sources = objective.split_sources(slices.sources)
        parts, images, _ = objective.loss_parts(
            model, variables, slices, keys, config.losses, train=False, gather=_gather, share=_share
        )
        result = {
            "fusion": parts.fusion,
            "decomposition": parts.decomposition,
            "background": jnp.broadcast_to(parts.background, len(numbers)),
            "latent_loss": jnp.broadcast_to(parts.latent, len(numbers)),
            **objective.scores(sources, images, storage),
        }
        if with_images:
            if "decomposed" in images:
                images["decomposed"] = jnp.concatenate(images["decomposed"], -1)
            result |= images
        return result

    return jax.pmap(step, axis_name=AXIS, in_axes=(None, 0, 0, None), devices=devices)


def make_map(function: Callable[..., Any], devices: list[jax.Device]) -> Callable[..., Any]:
    """`function(constant, *batches)` on this process's devices: one constant; batches and results (D, B/D, ...).

    Args:
      function: of one example each of the batches.
      devices: of all processes.
    """
    compiled = {}

    def call(constant: Any, *batches: Any) -> Any:
        if len(batches) not in compiled:
            compiled[len(batches)] = jax.pmap(function, in_axes=(None, *[0] * len(batches)), devices=devices)
        return compiled[len(batches)](constant, *batches)

    return call
