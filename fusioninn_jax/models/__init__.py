"""The registry of fusion systems: name -> model."""

from __future__ import annotations

import difflib
import functools
import importlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import ml_collections

from fusioninn_jax import settings
from fusioninn_jax.models import classical, deepfuse, funfusean, half_unet, unet, unet_3plus, unet_plus_plus
from fusioninn_jax.models import ddfm as _ddfm
from fusioninn_jax.models import fusioninn as _fusioninn
from fusioninn_jax.models.base import FusionModel, Gather, Variables, checked_fuse
from fusioninn_jax.models.salient import salient_mean
from fusioninn_jax.settings import config_check, limits

Make = Callable[[ml_collections.ConfigDict], FusionModel]


class _Rule(NamedTuple):
    """A function of the sources alone as the functions of a FusionModel.

    They pickle, since they are methods; the rule does by its name, a jitted function not by itself.
    """

    module: str
    name: str

    def init(self, key: jax.Array, *sources: jax.Array) -> Variables:
        return {"params": {}}

    def fuse(self, variables: Variables, *sources: jax.Array) -> tuple[jax.Array, None]:
        return getattr(importlib.import_module(self.module), self.name)(*sources), None

    def fuse_train(
        self, variables: Variables, *sources: jax.Array, gather: Gather | None = None
    ) -> tuple[jax.Array, None, Variables]:
        return (*self.fuse(variables, *sources), {})


def _training_free(fuse: Callable[..., jax.Array]) -> Make:
    """A function of the sources alone, at the top of its module, as an entry of the registry."""
    own = _Rule(fuse.__module__, fuse.__name__)
    model = FusionModel(
        own.init,
        functools.partial(checked_fuse, own.fuse),
        own.fuse_train,
        decompose=None,
        sources=None,
        training_free=True,
    )
    return lambda config: model


_MODELS: dict[str, Make] = {
    "fusioninn": _fusioninn.fusioninn,
    "deepfuse": deepfuse.deepfuse,
    "funfusean": funfusean.funfusean,
    "half_unet": half_unet.half_unet,
    "unet": unet.unet,
    "unet_plus_plus": unet_plus_plus.unet_plus_plus,
    "unet_3plus": unet_3plus.unet_3plus,
    "ddfm": _ddfm.ddfm,
    "salient_mean": _training_free(salient_mean),
    "mean": _training_free(classical.mean),
    "max": _training_free(classical.maximum),
    "laplacian_pyramid": _training_free(classical.laplacian_pyramid),
    "wavelet": _training_free(classical.wavelet),
    "guided_filter": _training_free(classical.guided_filter_fusion),
    "ssim_limit": _training_free(classical.ssim_limit),
}


def names() -> list[str]:
    """Every system that `get` knows."""
    return sorted(_MODELS)


def _check(name: str) -> None:
    if name not in _MODELS:
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names())}"
        raise ValueError(f"no fusion system is called {name!r}; {hint}")


def is_training_free(name: str) -> bool:
    """Whether the system called `name` has no parameters: it is a fusion rule.

    Args:
      name: one of `names()`.

    Raises:
      ValueError: an unknown name.
    """
    return not default_config(name) and get(name).training_free


def default_config(name: str) -> ml_collections.ConfigDict:
    """The settings of a system and their defaults.

    Args:
      name: one of `names()`.

    Raises:
      ValueError: an unknown name.
    """
    _check(name)
    return settings.defaults(f"model.{name}")


def get(name: str, config: Mapping[str, object] | ml_collections.ConfigDict | None = None) -> FusionModel:
    """A fusion system by name.

    Args:
      name: one of `names()`.
      config: a mapping or ConfigDict of settings that differ from `default_config(name)`, or None.

    Raises:
      ValueError: an unknown name or setting, or a value that a setting cannot have.
    """
    whole = default_config(name)
    for key, value in dict(config or {}).items():
        if key not in whole:
            close = difflib.get_close_matches(key, list(whole), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(whole)}"
            raise ValueError(f"{name} has no setting {key!r}; {hint}")
        is_list = isinstance(whole[key], tuple) and isinstance(value, tuple | list)
        with whole.ignore_type():
            whole[key] = tuple(value) if is_list else value
    config_check.check(whole, default_config(name), limits.below(f"model.{name}"), f"model.{name}.")
    model = _MODELS[name](whole)
    return model if model.training_free else model._replace(fuse=functools.partial(checked_fuse, model.fuse))


__all__ = ["FusionModel", "Variables", "default_config", "get", "is_training_free", "names"]
