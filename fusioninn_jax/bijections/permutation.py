"""Permutation of the channels.

Forward: output channel i is input channel permutation[i]; log-det = 0. Inverse: by the inverse permutation.
The permutation is configuration, not a parameter: it is never trained.
Source: FusionINN (arXiv 2403.15769) section 2.2.
"""
from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax.bijections.base import Bijection, no_params


def _checked(permutation: Sequence[int] | np.ndarray, channels: int) -> np.ndarray:
    order = np.asarray(permutation)
    if sorted(order.tolist()) != list(range(channels)):
        raise ValueError(f"{order.tolist()} is not a permutation of the {channels} channels")
    return order.astype(np.int64)


def permutation_forward(permutation: Sequence[int] | np.ndarray, x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Channel i of the result is channel permutation[i] of (B, ..., C); returns (y, zeros (B,)).

    Raises:
      ValueError: not a permutation of the C channels.
    """
    order = _checked(permutation, x.shape[-1])
    # runs of neighbours joined, not a gather: autodiff of a gather adds to zeros in a loop
    runs = np.split(order, np.flatnonzero(np.diff(order) != 1) + 1)
    joined = jnp.concatenate([x[..., run[0]:run[-1] + 1] for run in runs], axis=-1)
    return joined, jnp.zeros(x.shape[:1], x.dtype)


def permutation_inverse(permutation: Sequence[int] | np.ndarray, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Undoes `permutation_forward` with the same permutation; returns (x, zeros (B,))."""
    return permutation_forward(np.argsort(_checked(permutation, y.shape[-1])), y)


def permutation(order: Sequence[int] | np.ndarray) -> Bijection:
    """A fixed permutation of the channels as a Bijection without parameters."""
    return Bijection(no_params, lambda params, x: permutation_forward(order, x),
                     lambda params, y: permutation_inverse(order, y))
