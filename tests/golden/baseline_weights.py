"""Weights of the six baselines by the fill rule, under the authors' keys."""

from __future__ import annotations

import json
import pathlib

import numpy as np

from tests.golden import portable_inputs

SHAPES = json.loads((pathlib.Path(__file__).parent / "baselines_shapes.json").read_text())
FULL_WIDTH = {"deepfuse": 16, "funfusean": 16, "half_unet": 64, "unet": 64, "unet_plus_plus": 64, "unet_3plus": 64}


def state_dict(name: str) -> dict[str, np.ndarray]:
    """The authors' keys -> float64 arrays, at full width."""
    return {key: portable_inputs.fill(key, shape) for key, shape in SHAPES[name].items()}


def narrow_state_dict(name: str, width: int) -> dict[str, np.ndarray]:
    """The same keys for a network of another width."""
    first = FULL_WIDTH[name]

    def narrowed(shape: list[int]) -> list[int]:
        return [size // first * width if size >= first else size for size in shape]

    return {key: portable_inputs.fill(key, narrowed(shape)) for key, shape in SHAPES[name].items()}
