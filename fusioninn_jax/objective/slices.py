"""Slices as a loss takes them, and their sources as images of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np


class Slices(NamedTuple):
    """A batch of slices, or of crops of slices, as the loss takes it.

    Attributes:
      sources: (B, H, W, M) in [0, 1].
      target: (B, H, W, 1) in [0, 1], the picture that the fused image should be, where it was made beforehand.
    """

    sources: jax.Array
    target: jax.Array | None = None


def slices_of(batch: Mapping[str, np.ndarray]) -> Slices:
    """The slices in `batch`, of `input_pipeline`, still on the host: whoever splits them places them on devices."""
    return Slices(*(cast("jax.Array", batch.get(name)) for name in Slices._fields))


def split_sources(stack: jax.Array) -> tuple[jax.Array, ...]:
    """Modalities as images of their own.

    Args:
      stack: (B, H, W, M).

    Returns:
      M images (B, H, W, 1).
    """
    return tuple(jnp.split(stack, stack.shape[-1], axis=-1))
