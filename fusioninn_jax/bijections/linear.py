"""Fixed linear maps: the mean of the channels beside their differences, and a change of scale.

`mean_difference`, for (x_1, ..., x_m): y_1 = (x_1 + ... + x_m) / m, y_{i+1} = x_i - x_{i+1}, then the channels
rotated so that the mean stands at `position`. The matrix has determinant ±1, so log-det = 0.
`rescale`: y = scale · (x - offset); log-det = (elements) · log |scale|.
"""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax.bijections.base import Bijection, bound, checked, each, log_det_dtype, no_log_det, parameterless
from fusioninn_jax.bijections.mixing import mixed


@functools.cache
def _mean_difference_matrix(channels: int, position: int) -> np.ndarray:
    differences = np.eye(channels)[:-1] - np.eye(channels, k=1)[:-1]
    return np.roll(np.concatenate([np.full((1, channels), 1 / channels), differences]), position, axis=0)


def _with_channels(x: jax.Array) -> jax.Array:
    return checked("mean_difference", x, "(B, ..., C) with C ≥ 2", lambda shape: len(shape) > 1 and shape[-1] > 1)


def _in_type_of(x: jax.Array, matrix: np.ndarray) -> jax.Array:
    """A copy of its own: a kept array that was once traced in float32 would be met in float32 under x64 too."""
    return jnp.asarray(matrix.astype(x.dtype))


def mean_difference_forward(x: jax.Array, *, position: int = 0) -> tuple[jax.Array, jax.Array]:
    """The mean of the channels at `position`, differences of neighbouring ones in the others.

    Args:
      x: (B, ..., C), C ≥ 2.
      position: of the mean among the channels, counted modulo C.

    Returns:
      (y, zeros (B,)).

    Raises:
      TypeError: `x` holds integers.
      ValueError: fewer than two channels.
    """
    x = _with_channels(x)
    return mixed(_in_type_of(x, _mean_difference_matrix(x.shape[-1], position)), x), no_log_det(x)


def mean_difference_inverse(y: jax.Array, *, position: int = 0) -> tuple[jax.Array, jax.Array]:
    """The inverse of `mean_difference_forward`; errors as there.

    Args:
      y: (B, ..., C), floats, as the forward map gives them.
      position: that of the forward map.
    """
    y = _with_channels(y)
    inverse = np.linalg.inv(_mean_difference_matrix(y.shape[-1], position))
    return mixed(_in_type_of(y, inverse), y), no_log_det(y)


def mean_difference(position: int = 0) -> Bijection:
    """Mean and differences as a Bijection without parameters; of two channels Haar's transform, unscaled.

    Args:
      position: the channel that the mean takes the place of.
    """
    return parameterless(
        bound(mean_difference_forward, position=position), bound(mean_difference_inverse, position=position)
    )


def rescale_forward(x: jax.Array, *, scale: float, offset: float = 0.0) -> tuple[jax.Array, jax.Array]:
    """scale · (x - offset), element by element.

    Args:
      x: (B, ...).
      scale: not 0.
      offset: becomes 0.

    Returns:
      (y, log_det (B,)).

    Raises:
      TypeError: `x` holds integers.
    """
    x = checked("rescale", x)
    log_det = math.log(abs(scale)) * math.prod(x.shape[1:])
    return scale * (x - offset), each(jnp.full((), log_det, log_det_dtype(x)), x)


def rescale_inverse(y: jax.Array, *, scale: float, offset: float = 0.0) -> tuple[jax.Array, jax.Array]:
    """The inverse of `rescale_forward`; errors as there.

    Args:
      y: (B, ...), floats.
      scale, offset: those of the forward map.
    """
    y = checked("rescale", y)
    log_det = math.log(abs(scale)) * math.prod(y.shape[1:])
    return y / scale + offset, each(jnp.full((), -log_det, log_det_dtype(y)), y)


def rescale(scale: float, offset: float = 0.0) -> Bijection:
    """A change of scale as a Bijection without parameters.

    Args:
      scale: factor, finite and not 0.
      offset: what becomes 0.

    Raises:
      ValueError: a scale of 0, or one that is not finite.
    """
    if not scale or not math.isfinite(scale):
        raise ValueError(f"rescale takes a finite scale that is not 0; got {scale}")
    return parameterless(
        bound(rescale_forward, scale=scale, offset=offset), bound(rescale_inverse, scale=scale, offset=offset)
    )
