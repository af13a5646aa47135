"""Layers of PyTorch on seeded inputs: batch normalisation and bilinear interpolation.

`python -m tests.golden.layers` writes PyTorch's numbers anew, where PyTorch is installed; tests read them without it.
"""

import pathlib
from collections.abc import Iterator

import numpy as np

FILE = pathlib.Path(__file__).parent / "layers.npz"
FACTORS = (2, 4)
SIZES = ((1, 3), (5, 4))
BATCHES = 4  # of batch normalisation: three that train it, one that it is evaluated on


def batches() -> Iterator[np.ndarray]:
    """(3, 4, 5, 6) NHWC each."""
    x = np.random.default_rng(0).normal(3, 2, (3, 4, 5, 6)).astype(np.float32)
    for _ in range(BATCHES):
        yield x
        x = x * 1.5 + 1


def image(size: tuple[int, int]) -> np.ndarray:
    """(1, *size, 2) NHWC."""
    return np.random.default_rng(0).random((1, *size, 2), np.float32)


def upsampled_name(factor: int, align_corners: bool, size: tuple[int, int]) -> str:
    return f"upsampled_{factor}_{'corners' if align_corners else 'pixels'}_{size[0]}x{size[1]}"


def main() -> None:
    import torch

    def nchw(x: np.ndarray) -> torch.Tensor:
        return torch.tensor(x.transpose(0, 3, 1, 2))

    def nhwc(x: torch.Tensor) -> np.ndarray:
        return x.detach().numpy().transpose(0, 2, 3, 1)

    layer = torch.nn.BatchNorm2d(6)
    *training, last = batches()
    found = {f"normalised_{i}": nhwc(layer(nchw(x))) for i, x in enumerate(training)}
    found |= {"mean": layer.running_mean.numpy().copy(), "variance": layer.running_var.numpy().copy()}
    found["evaluated"] = nhwc(layer.eval()(nchw(last)))
    for factor in FACTORS:
        for corners in (True, False):
            for size in SIZES:
                grown = torch.nn.functional.interpolate(
                    nchw(image(size)), scale_factor=factor, mode="bilinear", align_corners=corners
                )
                found[upsampled_name(factor, corners, size)] = nhwc(grown)
    np.savez_compressed(FILE, **found)


if __name__ == "__main__":
    main()
