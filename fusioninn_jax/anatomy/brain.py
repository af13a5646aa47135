"""What "inside the brain" means, here alone: where any source is above 0.

Sources are skull-stripped and in [0, 1], each slice scaled by its own minimum, or in units whose background is 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Images = TypeVar("Images", np.ndarray, jax.Array)


def inside(stack: Images, axis: int = -1) -> Images:
    """Where the brain is.

    Args:
      stack: the sources of one or many slices, stacked along `axis`.
      axis: of the sources.

    Returns:
      bool, with length 1 along `axis`.
    """
    return (stack > 0).any(axis, keepdims=True)  # type: ignore[return-value]  # NumPy's stub thinks of scalars


def brain_mask(sources: tuple[jax.Array, ...]) -> jax.Array:
    """(B, H, W, 1) bool, where the brain is in m sources (B, H, W, 1).

    Args:
      sources: m images (B, H, W, 1), 0 in the background.
    """
    return inside(jnp.concatenate(sources, -1))


def bounding_box(mask: np.ndarray, margins: Sequence[int]) -> tuple[slice, ...]:
    """The places of a mask that hold it, along every axis; all of them where it is empty.

    Args:
      mask: bool, of any number of axes.
      margins: pixels more at either end, for each axis.
    """
    if not mask.any():
        return tuple(slice(0, length) for length in mask.shape)
    result = []
    for axis, (length, margin) in enumerate(zip(mask.shape, margins, strict=True)):
        there = np.flatnonzero(mask.any(tuple(other for other in range(mask.ndim) if other != axis)))
        result.append(slice(max(int(there[0]) - margin, 0), min(int(there[-1]) + 1 + margin, length)))
    return tuple(result)
