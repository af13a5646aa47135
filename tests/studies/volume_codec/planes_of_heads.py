"""Planes in the manner of MRI."""

import numpy as np

from fusioninn_jax.studies.volume_codec.planes import Plane


def plane(levels, background=0):
    """A plane whose background is one of its levels."""
    levels = np.asarray(levels, np.int32)
    return Plane(levels, (levels != background).astype(np.uint8), int(levels.max()), background)


def head(seed, shape=(7, 21, 19)):
    """Levels in the manner of MRI: a blank rim, smooth content, noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    content = 300 + 200 * x - 90 * y * z + 9 * rng.standard_normal(shape)
    return np.where(z**2 + y**2 + x**2 < 1.2, content, 0).astype(int)
