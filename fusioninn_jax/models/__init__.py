"""The registry of fusion systems: name -> model."""
from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from typing import Any

import jax
import ml_collections

from fusioninn_jax import config_check, limits, settings
from fusioninn_jax.models import classical, deepfuse, funfusean, half_unet, unet, unet_3plus, unet_plus_plus
from fusioninn_jax.models import ddfm as _ddfm
from fusioninn_jax.models import fusioninn as _fusioninn
from fusioninn_jax.models.base import FusionModel, Variables, checked_fuse

Make = Callable[[ml_collections.ConfigDict], FusionModel]


def _training_free(rule: str) -> Make:
    """A rule of `classical`, by its name, as an entry of the registry; compiled functions do not pickle, names do."""
    model = FusionModel(init=_no_variables, fuse=_checked(functools.partial(_fuse_by, rule)),
                        fuse_train=functools.partial(_fuse_train_by, rule), decompose=None, sources=None,
                        training_free=True)
    return lambda config: model


def _checked(fuse: Callable[..., Any]) -> Callable[..., Any]:
    return functools.partial(checked_fuse, fuse)


def _no_variables(key: jax.Array, *sources: jax.Array) -> Variables:
    return {"params": {}}


def _fuse_by(rule: str, variables: Variables, *sources: jax.Array) -> tuple[jax.Array, None]:
    return getattr(classical, rule)(*sources), None


def _fuse_train_by(rule: str, variables: Variables, *sources: jax.Array,
                   gather: Any = None) -> tuple[jax.Array, None, Any]:
    return getattr(classical, rule)(*sources), None, {}


_MODELS: dict[str, Make] = {
    "fusioninn": _fusioninn.fusioninn,
    "deepfuse": deepfuse.deepfuse,
    "funfusean": funfusean.funfusean,
    "half_unet": half_unet.half_unet,
    "unet": unet.unet,
    "unet_plus_plus": unet_plus_plus.unet_plus_plus,
    "unet_3plus": unet_3plus.unet_3plus,
    "ddfm": _ddfm.ddfm,
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


def _check(name: str) -> None:
    if name not in _MODELS:
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names())}"
        raise ValueError(f"no fusion system is called {name!r}; {hint}")


def default_config(name: str) -> ml_collections.ConfigDict:
    """The settings of a system and their defaults.

    Raises:
      ValueError: an unknown name.
    """
    _check(name)
    return settings.defaults(f"model.{name}")


def get(name: str, config: Any = None) -> FusionModel:
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
    return model if model.training_free else model._replace(fuse=_checked(model.fuse))


__all__ = ["FusionModel", "Variables", "default_config", "get", "names"]
