"""The authors' PyTorch weights -> (config, variables). Needs NumPy arrays only, no PyTorch."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ml_collections
import numpy as np

from fusioninn_jax.interop.ddfm_checkpoint import convert_ddfm
from fusioninn_jax.models import fusioninn

StateDict = Mapping[str, np.ndarray]


def convert(name: str, state_dict: StateDict) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
    """A state dict of the authors' code as a config and variables for `models.get(name, config)`.

    Args:
      name: the system, as in `models.get`.
      state_dict: the authors' keys -> NumPy arrays, any float dtype, which is kept; a leading `module.`
        (DataParallel) is dropped.

    Returns:
      (config, variables).

    Raises:
      ValueError: a system without converter, or keys or shapes that are not that system's.
    """
    if name not in _CONVERTERS:
        raise ValueError(f"no converter for {name!r}; there is one for {', '.join(sorted(_CONVERTERS))}")
    plain = {key.removeprefix("module."): np.asarray(value) for key, value in state_dict.items()}
    try:
        return _CONVERTERS[name](plain)
    except KeyError as missing:
        raise ValueError(f"not a state dict of {name}: the key {missing} is missing") from missing


def _kernel(weight: np.ndarray) -> np.ndarray:
    """PyTorch's (out, in, row, column) -> Flax's (row, column, in, out)."""
    return weight.transpose(2, 3, 1, 0)


def _subnet(state: StateDict, prefix: str) -> dict[str, dict[str, np.ndarray]]:
    """nn.Sequential(conv, ReLU, conv, ReLU) -> the params of a ConvConditioner."""
    return {ours: {"kernel": _kernel(state[f"{prefix}.{theirs}.weight"]), "bias": state[f"{prefix}.{theirs}.bias"]}
            for ours, theirs in (("conv1", 0), ("conv2", 2))}


def _fusioninn(state: StateDict) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
    """The k = 3 model: module_list 0 ActNorm, 1 block, 2 permutation, 3 squeeze, 4 block, 5 permutation, 6, 7 block."""
    config = fusioninn.official_config()
    config.permutations = tuple(
        tuple(int(i) for i in state[f"module_list.{index}.perm"]) for index in (2, 5))
    config.widths = tuple(state[f"module_list.{index}.subnet1.0.weight"].shape[0] for index in (1, 4, 7))
    blocks = {index: {net: _subnet(state, f"module_list.{index}.{net}") for net in ("subnet1", "subnet2")}
              for index in (1, 4, 7)}
    actnorm = {key: state[f"module_list.0.{key}"].reshape(-1) for key in ("scale", "bias")}
    return config, {"params": [actnorm, blocks[1], {}, {}, blocks[4], {}, {}, blocks[7]]}


_CONVERTERS = {
    "ddfm": convert_ddfm,
    "fusioninn": _fusioninn,
}
