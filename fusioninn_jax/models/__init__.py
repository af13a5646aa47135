"""The registry of fusion systems: name -> model."""
from __future__ import annotations

import difflib
import functools
from typing import Any

import jax
import ml_collections

from fusioninn_jax import config_check
from fusioninn_jax.config_check import between
from fusioninn_jax.models import classical, deepfuse, funfusean, half_unet, unet, unet_3plus, unet_plus_plus
from fusioninn_jax.models import ddfm as _ddfm
from fusioninn_jax.models import fusioninn as _fusioninn
from fusioninn_jax.models.base import FusionModel, Variables, checked_fuse


def _training_free(rule: str) -> tuple[Any, Any]:
    """A rule of `classical`, by its name, as an entry of the registry; compiled functions do not pickle, names do."""
    model = FusionModel(init=_no_variables, fuse=functools.partial(_fuse_by, rule),
                        fuse_train=functools.partial(_fuse_train_by, rule), decompose=None, sources=None,
                        training_free=True)
    return (lambda config: model), ml_collections.ConfigDict


def _no_variables(key: jax.Array, *sources: jax.Array) -> Variables:
    return {"params": {}}


def _fuse_by(rule: str, variables: Variables, *sources: jax.Array) -> tuple[jax.Array, None]:
    return getattr(classical, rule)(*sources), None


def _fuse_train_by(rule: str, variables: Variables, *sources: jax.Array,
                   gather: Any = None) -> tuple[jax.Array, None, Any]:
    return getattr(classical, rule)(*sources), None, {}


RULES = {"width": between(1, 4096), "sources": between(2, 64)}  # of the systems that do not check their own
_MODELS: dict[str, tuple[Any, Any]] = {
    "fusioninn": (_fusioninn.fusioninn, _fusioninn.default_config),
    "deepfuse": (deepfuse.deepfuse, deepfuse.default_config),
    "funfusean": (funfusean.funfusean, funfusean.default_config),
    "half_unet": (half_unet.half_unet, half_unet.default_config),
    "unet": (unet.unet, unet.default_config),
    "unet_plus_plus": (unet_plus_plus.unet_plus_plus, unet_plus_plus.default_config),
    "unet_3plus": (unet_3plus.unet_3plus, unet_3plus.default_config),
    "ddfm": (_ddfm.ddfm, _ddfm.default_config),
    "mean": _training_free("mean"),
    "max": _training_free("maximum"),
    "laplacian_pyramid": _training_free("laplacian_pyramid"),
    "wavelet": _training_free("wavelet"),
    "guided_filter": _training_free("guided_filter_fusion"),
    "ssim_limit": _training_free("ssim_limit"),
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
      ValueError: an unknown name or setting, or a value that a setting cannot have.
    """
    make, defaults = _entry(name)
    settings = defaults()
    for key, value in dict(config or {}).items():
        if key not in settings:
            close = difflib.get_close_matches(key, list(settings), n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(settings)}"
            raise ValueError(f"{name} has no setting {key!r}; {hint}")
        is_list = isinstance(settings[key], tuple) and isinstance(value, tuple | list)
        with settings.ignore_type():
            settings[key] = tuple(value) if is_list else value
    config_check.check(settings, defaults(), RULES, f"{name}.")
    model = make(settings)
    return model._replace(fuse=functools.partial(checked_fuse, model.fuse))


__all__ = ["FusionModel", "Variables", "default_config", "get", "names"]
