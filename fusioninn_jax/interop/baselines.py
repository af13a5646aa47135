"""The six baselines of Table 1: the authors' PyTorch layers -> the layers of `fusioninn_jax.models`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import ml_collections
import numpy as np

from fusioninn_jax import models

StateDict = Mapping[str, np.ndarray]


def conv(state: StateDict, prefix: str) -> dict[str, np.ndarray]:
    """A convolution: PyTorch's (out, in, row, column) -> Flax's (row, column, in, out), and the bias.

    Args:
      state: the authors' keys -> arrays.
      prefix: of the layer's keys.
    """
    return {"kernel": _four_axes(state, f"{prefix}.weight").transpose(2, 3, 1, 0), "bias": state[f"{prefix}.bias"]}


def _four_axes(state: StateDict, key: str) -> np.ndarray:
    if state[key].ndim != 4:
        raise ValueError(f"{key} has shape {state[key].shape}; a convolution's weight has 4 axes")
    return state[key]


class Variables:
    """Flax variables that are filled layer by layer; paths have their parts set apart by `/`."""

    def __init__(self, state: StateDict) -> None:
        self.state = state
        self.tree: dict[str, Any] = {"params": {}, "batch_stats": {}}

    def _put(self, collection: str, path: str, leaves: dict[str, np.ndarray]) -> None:
        node = self.tree[collection]
        for part in path.split("/"):
            node = node.setdefault(part, {})
        node.update(leaves)

    def conv(self, path: str, theirs: str) -> None:
        """Puts the convolution that they name `theirs` at `path`."""
        self._put("params", path, conv(self.state, theirs))

    def transposed_conv(self, path: str, theirs: str) -> None:
        """Puts the transposed convolution `theirs` at `path`, (in, out, row, column) -> (row, column, in, out)."""
        kernel = _four_axes(self.state, f"{theirs}.weight").transpose(2, 3, 0, 1)
        self._put("params", path, {"kernel": kernel, "bias": self.state[f"{theirs}.bias"]})

    def conv_norm(self, path: str, conv: str, norm: str) -> None:
        """Puts the convolution `conv` and the batch normalisation `norm` after it at `path`."""
        self.conv(f"{path}/conv", conv)
        self._put("params", f"{path}/norm", {"scale": self.state[f"{norm}.weight"], "bias": self.state[f"{norm}.bias"]})
        self._put(
            "batch_stats",
            f"{path}/norm",
            {"mean": self.state[f"{norm}.running_mean"], "var": self.state[f"{norm}.running_var"]},
        )

    def double_conv(self, path: str, theirs: str) -> None:
        """Puts conv1, bn1, conv2 and bn2 of their block `theirs` at `path`."""
        self.conv_norm(f"{path}/first", f"{theirs}.conv1", f"{theirs}.bn1")
        self.conv_norm(f"{path}/second", f"{theirs}.conv2", f"{theirs}.bn2")


def _deepfuse(to: Variables) -> None:
    for path, theirs in (
        ("encoder_0", "layer1"),
        ("encoder_1", "layer2"),
        ("decoder_0", "layer4"),
        ("decoder_1", "layer5"),
        ("decoder_2", "layer6"),
    ):
        to.conv_norm(path, f"{theirs}.main.0", f"{theirs}.main.1")


def _funfusean(to: Variables) -> None:
    def branch(path: str, theirs: str, layers: int) -> None:
        for i in range(layers):
            to.conv_norm(f"{path}/layer{i}", f"{theirs}.{3 * i}", f"{theirs}.{3 * i + 1}")

    for number, theirs in ((1, "mri"), (2, "pet")):
        branch(f"low{number}", f"{theirs}_lf", 1)
        branch(f"high{number}", f"{theirs}_hf", 3)
    branch("reconstruction", "recon1", 2)
    to.conv("output", "recon2.0")


def _encoder_names(bottleneck: str) -> list[str]:
    return ["e1.conv", "e2.conv", "e3.conv", "e4.conv", bottleneck]


def _half_unet(to: Variables) -> None:
    for level, theirs in enumerate(_encoder_names("b1")):
        to.conv_norm(f"level{level}/first", f"{theirs}.conv1", f"{theirs}.bn1")
        to.conv(f"level{level}/unused", f"{theirs}.conv2.depthwise")
        to.conv(f"level{level}/second", f"{theirs}.conv2.pointwise")
    to.conv("output", "output")


def _unet(to: Variables) -> None:
    for level, theirs in enumerate(_encoder_names("b")):
        to.double_conv(f"encoder{level}", theirs)
    for level in range(4):
        to.transposed_conv(f"up{level}", f"d{4 - level}.up")
        to.double_conv(f"decoder{level}", f"d{4 - level}.conv")
    to.conv("output", "outputs")


def _unet_plus_plus(to: Variables) -> None:
    for level in range(5):
        for column in range(5 - level):
            to.double_conv(f"node{level}_{column}", f"conv{level}_{column}")
    to.conv("output", "final")


def _unet_3plus(to: Variables) -> None:
    for level, theirs in enumerate(_encoder_names("b")):
        to.double_conv(f"encoder{level}", theirs)
    for level in range(4):  # their levels count from 1; what they call hd is decoded, PT pooled, UT enlarged
        to_level = f"hd{level + 1}"
        for source in range(5):
            kind = "PT" if source < level else "Cat" if source == level else "UT"
            theirs = f"{'hd' if source > level else 'h'}{source + 1}_{kind}_{to_level}"
            to.conv_norm(f"decoder{level}/from{source}", f"{theirs}_conv", f"{theirs}_bn")
        to.conv_norm(f"decoder{level}/join", f"conv{level + 1}d_1", f"bn{level + 1}d_1")
    to.conv("output", "outconv1")


# name -> (how its layers are placed, the first convolution, which tells width and number of sources)
BASELINES: dict[str, tuple[Callable[[Variables], None], str]] = {
    "deepfuse": (_deepfuse, "layer1.main.0"),
    "funfusean": (_funfusean, "mri_lf.0"),
    "half_unet": (_half_unet, "e1.conv.conv1"),
    "unet": (_unet, "e1.conv.conv1"),
    "unet_plus_plus": (_unet_plus_plus, "conv0_0.conv1"),
    "unet_3plus": (_unet_3plus, "e1.conv.conv1"),
}


def convert_baseline(name: str, state: StateDict) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
    """A baseline's state dict as (config, variables).

    Args:
      name: the system, one of BASELINES.
      state: the authors' keys -> arrays.

    Raises:
      KeyError: a key is missing.
    """
    place, first = BASELINES[name]
    variables = Variables(state)
    place(variables)
    width, sources = state[f"{first}.weight"].shape[:2]
    config = models.default_config(name)
    config.width = int(width)
    if "sources" in config:
        config.sources = int(sources)
    return config, variables.tree
