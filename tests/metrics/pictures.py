"""Synthetic images for the tests of metrics: blobs and noise on a black background, and hypothesis strategies."""

import hypothesis.strategies as st
import numpy as np
from hypothesis.extra import numpy as hnp
from scipy import ndimage

SHAPE = (2, 48, 45, 1)
SMALL = (1, 12, 13, 1)


def picture(seed: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Smooth structure plus noise inside a disc, black outside, float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=shape), (0, 4, 4, 0))
    image = 0.5 + 2 * smooth + 0.05 * rng.normal(size=shape)
    return np.clip(image * disc(shape), 0, 1).astype(np.float32)


def disc(shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """Boolean mask of the ellipse that fills 0.8 of height and width."""
    rows, columns = np.ogrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    return np.broadcast_to(((rows**2 + columns**2) < 0.64)[None, :, :, None], shape)


def triple(shape: tuple[int, ...] = SHAPE) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two sources and something between them."""
    x1, x2 = picture(1, shape), picture(2, shape)
    return x1, x2, (0.6 * x1 + 0.4 * x2).astype(np.float32)


def grey_levels(image: np.ndarray) -> np.ndarray:
    """0..255, halves rounded up, as float64."""
    return np.floor(np.float32(255) * image + np.float32(0.5)).astype(np.float64)


def images(shape: tuple[int, ...] = SMALL) -> st.SearchStrategy[np.ndarray]:
    """Any image of grey levels / 255 that is not all below two levels (that looks like a scaling mistake)."""
    levels = hnp.arrays(np.uint8, shape)
    return levels.filter(lambda a: a.max() > 2 or not a.any()).map(lambda a: (a / 255).astype(np.float32))


def scenes(shape: tuple[int, ...]) -> st.SearchStrategy[np.ndarray]:
    """Images too large to draw pixel by pixel: pictures, 8-bit noise, sparse dots and constants, from a seed."""

    def noise(seed: int) -> np.ndarray:
        return (np.random.default_rng(seed).integers(256, size=shape) / 255).astype(np.float32)

    def dots(seed: int) -> np.ndarray:
        return noise(seed) * (np.random.default_rng(seed + 1).random(shape) < 0.01)

    def constant(seed: int) -> np.ndarray:
        return np.full(shape, seed % 5 / 4, np.float32)

    kinds = st.sampled_from([noise, dots, constant, lambda seed: picture(seed, shape)])
    return st.builds(lambda kind, seed: kind(seed), kinds, st.integers(0, 10_000))
