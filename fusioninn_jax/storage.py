"""What a file does to a fused image: rounding to its levels, clipping to its range, JPEG.

Fused images are (B, H, W, 1); a raw one may leave [0, 1], a stored one does not.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

KINDS = ("float", "round", "dither", "jpeg")
BLOCK = 8  # JPEG's blocks of 8x8 pixels


def store(fused: jax.Array, bits: int) -> jax.Array:
    """The fused image as a file of unsigned integers keeps it.

    Args:
      fused: of any shape; what leaves [0, 1] is clipped.
      bits: of the integers; 0: as it is, in float.

    Returns:
      the same shape, in [0, 1] where there are bits.
    """
    levels = 2**bits - 1
    return jnp.floor(jnp.clip(fused, 0, 1) * levels + 0.5) / levels if bits else fused


def simulate(fused: jax.Array, keys: jax.Array, config: ml_collections.ConfigDict) -> jax.Array:
    """The stored image in a form that gradients pass through; they are 0 where the image leaves [0, 1].

    Args:
      fused: (B, H, W, 1).
      keys: (B,), one for each image; only "dither" draws.
      config: `settings.STORAGE`.

    Returns:
      (B, H, W, 1).

    Raises:
      ValueError: an unknown kind.
    """
    if config.kind not in KINDS:
        raise ValueError(f"losses.storage.kind is {config.kind!r}; it must be one of {', '.join(KINDS)}")
    if config.kind == "float":
        return fused
    inside = jnp.clip(fused, 0, 1)
    if config.kind == "dither":
        noise = jax.vmap(lambda key: jax.random.uniform(key, fused.shape[1:], fused.dtype, -0.5, 0.5))(keys)
        return inside + noise / (2**config.bits - 1)
    if config.kind == "jpeg":
        inside = jpeg(inside, config.quality)
    return _straight_through(store(inside, config.bits), inside)


def _straight_through(rounded: jax.Array, x: jax.Array) -> jax.Array:
    """The value of `rounded` with the gradient of `x` (Bengio et al. 2013, "Estimating or propagating gradients")."""
    return x + jax.lax.stop_gradient(rounded - x)


# Luminance quantisation table of ITU-T T.81, annex K.1
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)


def _cosines() -> np.ndarray:
    """The orthonormal discrete cosine transform of 8 samples."""
    rows = np.cos(np.pi * np.outer(np.arange(BLOCK), 2 * np.arange(BLOCK) + 1) / (2 * BLOCK))
    return rows * np.where(np.arange(BLOCK) == 0, 1, np.sqrt(2))[:, None] / np.sqrt(BLOCK)


def jpeg(x: jax.Array, quality: int) -> jax.Array:
    """What baseline JPEG keeps of grey images in [0, 1]; gradients pass its rounding straight through.

    Source: ITU-T T.81, sections A.3.3-A.3.4, with the table scaled by quality as the Independent JPEG Group does.

    Args:
      x: (B, H, W, 1) in [0, 1]; an edge that fills no block is repeated, as encoders do.
      quality: 1 to 100.

    Returns:
      (B, H, W, 1) in [0, 1], not rounded to levels.
    """
    height, width = x.shape[1:3]
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    table = jnp.asarray(np.clip(np.floor((_LUMINANCE * scale + 50) / 100), 1, 255)[:, None], x.dtype)
    padded = jnp.pad(x, [(0, 0), (0, -height % BLOCK), (0, -width % BLOCK), (0, 0)], mode="edge")
    blocks = padded.reshape(len(x), -(-height // BLOCK), BLOCK, -(-width // BLOCK), BLOCK) * 255 - 128
    cosines = jnp.asarray(_cosines(), x.dtype)
    spectrum = jnp.einsum("ui,brics,vs->brucv", cosines, blocks, cosines, precision="highest")
    kept = _straight_through(jnp.round(spectrum / table), spectrum / table) * table
    back = jnp.einsum("ui,brucv,vs->brics", cosines, kept, cosines, precision="highest")
    image = (back.reshape(padded.shape) + 128) / 255
    return jnp.clip(image[:, :height, :width], 0, 1)
