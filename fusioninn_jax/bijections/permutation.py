"""Permutation of the channels.

Forward: output channel i is input channel permutation[i]; log-det = 0. Inverse: by the inverse permutation.
The permutation is configuration, not a parameter: it is never trained.
Source: FusionINN (arXiv 2403.15769) section 2.2.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax.bijections.base import Bijection, bound, checked, no_log_det, parameterless

MOST_RUNS = 4  # of neighbours; beyond them a gather is faster, four times in the gradient of 16 channels

Order = Sequence[int] | np.ndarray


def checked_order(order: Order, channels: int) -> np.ndarray:
    """`order` as an array of integers.

    Raises:
      ValueError: not a permutation of 0 ... `channels` - 1.
    """
    result = np.asarray(order)
    if sorted(result.tolist()) != list(range(channels)):
        raise ValueError(f"{result.tolist()} is not a permutation of the {channels} channels")
    return result.astype(np.int64)


def _runs(order: np.ndarray) -> list[np.ndarray]:
    """The order cut where it goes on neither up nor down by one."""
    cuts, steps = [0], np.diff(order)
    for i, step in enumerate(steps):
        if abs(step) != 1 or (i > cuts[-1] and step != steps[i - 1]):
            cuts.append(i + 1)
    return np.split(order, cuts[1:])


def _run(run: np.ndarray, x: jax.Array) -> jax.Array:
    low, high = min(run[0], run[-1]), max(run[0], run[-1]) + 1
    return x[..., low:high] if run[0] == low else x[..., low:high][..., ::-1]


def _gathered(order: np.ndarray, x: jax.Array) -> jax.Array:
    return jnp.take(x, order, axis=-1, mode="clip", unique_indices=True)


def _by_gather(order: np.ndarray, x: jax.Array) -> jax.Array:
    """The channels in their new order. Said to JAX as the solution of a linear system, whose transpose is known: that
    of a gather adds to zeros in a loop."""
    forwards, back = (functools.partial(_gathered, o) for o in (order, np.argsort(order)))
    return jax.lax.custom_linear_solve(back, x, lambda _, b: forwards(b), lambda _, b: back(b))


def permutation_forward(permutation: Order, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Channel i of the result is channel permutation[i] of (B, ..., C); returns (y, zeros (B,)).

    Args:
      permutation: the order, C numbers.
      x: (B, ..., C), floats.

    Raises:
      TypeError: `x` holds integers.
      ValueError: not a permutation of the C channels.
    """
    x = checked("permutation", x, "(B, ..., C)", lambda shape: len(shape) > 1)
    order = checked_order(permutation, x.shape[-1])
    runs = _runs(order)
    if len(runs) > MOST_RUNS:
        return _by_gather(order, x), no_log_det(x)
    return jnp.concatenate([_run(run, x) for run in runs], axis=-1), no_log_det(x)


def permutation_inverse(permutation: Order, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Undoes `permutation_forward` with the same permutation; returns (x, zeros (B,)). Raises as it does.

    Args:
      permutation: that of the forward map.
      y: (B, ..., C), floats, as the forward map gives them.
    """
    y = checked("permutation", y, "(B, ..., C)", lambda shape: len(shape) > 1)
    return permutation_forward(np.argsort(checked_order(permutation, y.shape[-1])), y)


def permutation(order: Order) -> Bijection:
    """A fixed permutation of the channels as a Bijection without parameters.

    Args:
      order: channel order[i] goes to place i.

    Raises:
      ValueError: no permutation of 0 ... C - 1.
    """
    checked_order(order, len(order))
    return parameterless(bound(permutation_forward, order), bound(permutation_inverse, order))
