"""The small UNet of the golden numbers, with its weights, and images laid out as ours."""

from __future__ import annotations

import functools
import json
import pathlib
from typing import Any

import jax
import numpy as np

from fusioninn_jax.interop.torch_checkpoint import convert
from tests.golden import portable_inputs

FOLDER = pathlib.Path(__file__).parents[2] / "golden"
NUMBERS = np.load(FOLDER / "portable_ddfm.npz")


def nhwc(images: np.ndarray) -> np.ndarray:
    """(B, C, H, W) -> (B, H, W, C)."""
    return images.transpose(0, 2, 3, 1)


def pair(seed: int, height: int, width: int, dtype: Any) -> tuple[jax.Array, jax.Array]:
    """Two smooth images (1, H, W, 1) in [-1, 1]."""
    images = nhwc(portable_inputs.smooth(seed, 1, height, width)).astype(dtype) * 2 - 1
    return jax.device_put((images[..., :1], images[..., 1:]))


def shapes(name: str) -> dict[str, tuple[int, ...]]:
    """Key -> shape of the `small` or the `full_256x256` network."""
    return {key: tuple(shape) for key, shape in json.loads((FOLDER / "ddfm_shapes.json").read_text())[name].items()}


def fill(key: str, shape: tuple[int, ...]) -> np.ndarray:
    """The fill rule with √(1 / fan-in)."""
    weight = portable_inputs.fill(key, shape)
    matrix = key.endswith("weight") and len(shape) > 1
    return (weight / np.sqrt(2) if matrix else weight).astype(np.float32)


@functools.cache
def small_network() -> tuple[Any, Any]:
    """(config, variables) of the small network."""
    return convert("ddfm", {key: fill(key, shape) for key, shape in shapes("small").items()})
