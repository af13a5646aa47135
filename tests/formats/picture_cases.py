"""Pictures, grey and coloured, in files."""

import numpy as np
import tifffile
from PIL import Image

from fusioninn_jax.formats import image_io

SIZE = (18, 14)


def grey(seed, dtype="u1"):
    x, y = np.meshgrid(np.linspace(0, 1, SIZE[1]), np.linspace(0, 1, SIZE[0]))
    picture = 0.2 + 0.5 * x * y + 0.2 * np.random.default_rng(seed).random(SIZE)
    return (picture * np.iinfo(dtype).max).astype(dtype)


def coloured(seed, dtype="u1"):
    """Hot colours, as PET is shown in."""
    luma = grey(seed, dtype).astype(float)
    return np.stack([np.minimum(luma * 1.4, np.iinfo(dtype).max), luma, luma * 0.3], -1).astype(dtype)


def save(path, pixels):
    if path.suffix == ".tif":
        tifffile.imwrite(path, pixels, photometric="rgb" if pixels.ndim == 3 else "minisblack")
    elif pixels.dtype == np.uint16 and pixels.ndim == 3:
        path.write_bytes(image_io.encode_deep_png(pixels, {}))
    else:
        Image.fromarray(pixels).save(path)
    return path
