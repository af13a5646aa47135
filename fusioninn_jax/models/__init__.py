"""The registry of fusion systems: name -> model."""
from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import ml_collections

from fusioninn_jax.models import classical, deepfuse, funfusean, half_unet, unet, unet_3plus, unet_plus_plus
from fusioninn_jax.models import ddfm as _ddfm
from fusioninn_jax.models import fusioninn as _fusioninn
from fusioninn_jax.models.base import FusionModel, Variables


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

    def fuse_train(self, variables: Variables, *sources: jax.Array, gather: Any = None) -> tuple[jax.Array, None, Any]:
        return (*self.fuse(variables, *sources), {})


def _training_free(fuse: Callable[..., jax.Array]) -> tuple[Any, Any]:
    """A function of the sources alone, at the top of its module, as an entry of the registry."""
    own = _Rule(fuse.__module__, fuse.__name__)
    model = FusionModel(own.init, own.fuse, own.fuse_train, decompose=None, sources=None, training_free=True)
    return (lambda config: model), ml_collections.ConfigDict


_MODELS: dict[str, tuple[Any, Any]] = {
    "fusioninn": (_fusioninn.fusioninn, _fusioninn.default_config),
    "deepfuse": (deepfuse.deepfuse, deepfuse.default_config),
    "funfusean": (funfusean.funfusean, funfusean.default_config),
    "half_unet": (half_unet.half_unet, half_unet.default_config),
    "unet": (unet.unet, unet.default_config),
    "unet_plus_plus": (unet_plus_plus.unet_plus_plus, unet_plus_plus.default_config),
    "unet_3plus": (unet_3plus.unet_3plus, unet_3plus.default_config),
    "ddfm": (_ddfm.ddfm, _ddfm.default_config),
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


def _entry(name: str) -> tuple[Any, Any]:
    if name not in _MODELS:
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names())}"
        raise ValueError(f"no fusion system is called {name!r}; {hint}")
    return _MODELS[name]


def default_config(name: str) -> ml_collections.ConfigDict:
    """The settings of a system and their defaults.

    Raises:
      ValueError: an unknown name.
    """
    return _entry(name)[1]()


def get(name: str, config: Any = None) -> FusionModel:
    """A fusion system by name.

    Args:
      name: one of `names()`.
      config: a mapping or ConfigDict of settings that differ from `default_config(name)`, or None.

    Raises:
      ValueError: an unknown name or setting.
    """
    make, defaults = _entry(name)
    settings = defaults()
    for key, value in dict(config or {}).items():
        if key not in settings:
            close = difflib.get_close_matches(key, list(settings), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(settings)}"
            raise ValueError(f"{name} has no setting {key!r}; {hint}")
        settings[key] = tuple(value) if isinstance(settings[key], tuple) else value
    return make(settings)


__all__ = ["FusionModel", "Variables", "default_config", "get", "names"]
