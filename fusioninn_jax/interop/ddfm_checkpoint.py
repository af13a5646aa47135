"""OpenAI's guided-diffusion weights (`256x256_diffusion_uncond.pt`) -> DDFM's config and variables.

Any size of that network is read: channels, levels, blocks and attention follow from the keys and their shapes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import traverse_util

from fusioninn_jax import settings
from fusioninn_jax.models import ddfm

StateDict = Mapping[str, np.ndarray]
Path = tuple[str, ...]

# Our names of blocks, and of the layers in them; theirs.
_BLOCKS = {
    "time": "time_embed",
    "input": "input_blocks",
    "middle": "middle_block",
    "output": "output_blocks",
    "out": "out",
}
_LAYERS = {
    "in_norm": "in_layers.0",
    "in_conv": "in_layers.2",
    "embed": "emb_layers.1",
    "out_norm": "out_layers.0",
    "out_conv": "out_layers.3",
    "skip": "skip_connection",
    "norm": "norm",
    "qkv": "qkv",
    "project": "proj_out",
}


def _key(path: Path) -> str:
    """("input_3_0", "in_conv", "kernel") -> "input_blocks.3.0.in_layers.2.weight"."""
    block, *layer, leaf = path
    kind, *numbers = block.split("_")
    leaf = "bias" if leaf == "bias" else "weight"
    return ".".join([_BLOCKS[kind], *numbers, *[_LAYERS[name] for name in layer], leaf])


def _our_axes(path: Path, weight: np.ndarray) -> np.ndarray:
    """PyTorch's (out, in, ...) -> Flax's (..., in, out); attention's linear layers are 1-wide convolutions there."""
    if path[-1] != "kernel":
        return weight
    if path[-2] in ("qkv", "project"):
        weight = weight[..., 0]
    return weight.transpose(*range(2, weight.ndim), 1, 0)


def _their_shape(path: Path, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of a parameter in their layout."""
    if path[-1] != "kernel":
        return shape
    return (shape[-1], shape[-2], *shape[:-2], *((1,) if path[-2] in ("qkv", "project") else ()))


def _param_shapes(config: ml_collections.ConfigDict) -> dict[Path, tuple[int, ...]]:
    """The params of a configuration's network by path, from shape evaluation alone: nothing is allocated."""
    image = jax.ShapeDtypeStruct((1, 1, 1, 1), jnp.float32)
    variables = jax.eval_shape(ddfm.ddfm(config).init, jax.random.key(0), image, image)
    return {path: leaf.shape for path, leaf in traverse_util.flatten_dict(variables["params"]).items()}


def key_shapes(config: ml_collections.ConfigDict) -> dict[str, tuple[int, ...]]:
    """Every key of the original network of the size in `config`, and its shape in PyTorch's layout."""
    return {_key(path): _their_shape(path, shape) for path, shape in _param_shapes(config).items()}


def _check_kind(state: StateDict) -> None:
    """Raises ValueError where the weights that tell the size are no weights of such a network."""
    for key, axes in (("time_embed.0.weight", 2), ("input_blocks.0.0.weight", 4), ("out.2.weight", 4)):
        if state[key].ndim != axes:
            raise ValueError(f"not a state dict of ddfm: {key} has shape {state[key].shape}; {axes} axes are expected")
    if any(re.fullmatch(r"input_blocks\.\d+\.0\.op\.weight", key) for key in state):
        raise ValueError(
            "not a state dict of ddfm: its network resamples by plain convolutions; the one that is "
            "supported has residual blocks for it (resblock_updown), as 256x256_diffusion_uncond.pt"
        )


def config_of(state: StateDict) -> ml_collections.ConfigDict:
    """The configuration of the network whose weights are `state`.

    The width of an attention head leaves no trace in the shapes: taken is a quarter of the first level's channels,
    at least 16 and at most 64, which is the published one's 64. Set `head_channels` for a network that differs.

    Raises:
      KeyError: a key that every such network has is missing.
      ValueError: a variant without up- and down-sampling residual blocks, or a shape that no such network has.
    """
    _check_kind(state)
    config = settings.defaults("model.ddfm")
    config.channels = state["time_embed.0.weight"].shape[1]
    config.image_channels = state["input_blocks.0.0.weight"].shape[1]
    config.learned_sigma = state["out.2.weight"].shape[0] == 2 * config.image_channels
    config.head_channels = min(64, max(16, config.channels // 4))
    ups = sum(bool(re.fullmatch(r"output_blocks\.\d+\.[12]\.in_layers\.0\.weight", key)) for key in state)
    outputs = sum(bool(re.fullmatch(r"output_blocks\.\d+\.0\.in_layers\.0\.weight", key)) for key in state)
    config.blocks = outputs // (ups + 1) - 1
    first = [1 + level * (config.blocks + 1) for level in range(ups + 1)]  # input block of each level
    widths = [state[f"input_blocks.{number}.0.out_layers.0.weight"].shape[0] for number in first]
    config.multipliers = tuple(width // config.channels for width in widths)
    config.attention = tuple(
        2**level for level, number in enumerate(first) if f"input_blocks.{number}.1.qkv.weight" in state
    )
    return config


def convert_ddfm(state: StateDict) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
    """A state dict of guided diffusion as (config, variables) for `models.get("ddfm", config)`.

    Args:
      state: its keys -> arrays.

    Raises:
      KeyError: a key is missing.
      ValueError: not such a network; a shape that does not fit.
    """
    config = config_of(state)
    params = {}
    for path, shape in _param_shapes(config).items():
        key, expected = _key(path), _their_shape(path, shape)
        if state[key].shape != expected:
            raise ValueError(
                f"not a state dict of ddfm: {key} has shape {state[key].shape} where {expected} is expected"
            )
        params[path] = _our_axes(path, state[key])
    return config, {"params": traverse_util.unflatten_dict(params)}
