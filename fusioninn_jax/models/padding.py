"""Images of any size through models whose blocks want even sides: padded by their edges, and cut back.

The one way in which slices are made to fit, for `fuse`, `decompose`, validation and scores alike: a picture and its
score must not depend on who asked.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from fusioninn_jax.models.base import FusionModel, Variables


def pad_slices(volume: jax.Array, multiple: int) -> jax.Array:
    """Slices whose last row and column are repeated until both sides are divisible.

    Args:
      volume: (Z, H, W, ...).
      multiple: that divides H and W of the result.
    """
    lack = [-length % multiple for length in volume.shape[1:3]]
    return jnp.pad(volume, ((0, 0), (0, lack[0]), (0, lack[1]), *[(0, 0)] * (volume.ndim - 3)), mode="edge")


def _cut(image: jax.Array, like: jax.Array) -> jax.Array:
    return image[:, : like.shape[1], : like.shape[2]]


def _fuse(model: FusionModel, variables: Variables, *sources: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    fused, latent = model.fuse(variables, *(pad_slices(source, model.multiple) for source in sources))
    return _cut(fused, sources[0]), latent


def _decompose(model: FusionModel, variables: Variables, fused: jax.Array, latent: jax.Array) -> tuple[jax.Array, ...]:
    assert model.decompose is not None
    sources = model.decompose(variables, pad_slices(fused, model.multiple), latent)
    return tuple(_cut(source, fused) for source in sources)


@functools.lru_cache(maxsize=16)  # one object for one model: what jax compiled for it is found again
def any_size(model: FusionModel) -> FusionModel:
    """A model that fuses and decomposes images of any size.

    Args:
      model: any; one that takes any size is returned as it is.

    Returns:
      the model, its `multiple` 1. Its latents have the padded size: they hold what the inverse needs, also beyond the
      image's edge, and `decompose` wants them whole. Training (`init`, `fuse_train`) is as before.
    """
    if model.multiple == 1:
        return model
    changed: dict[str, Any] = {"fuse": functools.partial(_fuse, model), "multiple": 1}
    if model.decompose is not None:
        changed["decompose"] = functools.partial(_decompose, model)
    return model._replace(**changed)
