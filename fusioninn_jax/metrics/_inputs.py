"""What every metric does first: check its images, bring them to one shape, make 8-bit numbers of them.

`prepare` runs outside jit: it reads values where it can (concrete arrays) and skips that under a tracer, so a metric
may be called from inside jit, grad and vmap; the caller then answers for the range of its images.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

RANGE_SLACK = 1e-5  # float32 arithmetic may leave [0, 1] by rounding
GREY_LEVEL = 1 / 255
RAW_LIMIT = 16.0  # no fused image of sources in [0, 1] gets there; an 8-bit image nearly always does


def prepare(
    images: Mapping[str, ArrayLike], *, mask: ArrayLike | None = None, window: int = 1, raw: Collection[str] = ()
) -> tuple[list[jax.Array], jax.Array | None]:
    """Checks the images of one metric call and brings them to (B, H, W, 1).

    Args:
      images: the argument's name -> floating (B, H, W, 1) or (B, H, W), values in [0, 1]. Names appear in messages.
      mask: (B, H, W, 1) or (B, H, W), true (or non-zero) where a pixel counts.
      window: the smallest height and width that the metric can work on.
      raw: names of images that may leave [0, 1] (an unclipped fused image); only a 0..255 range is refused there.

    Returns:
      The images in the order given, float32 (float64 where given and enabled), and the mask as (B, H, W, 1) bool.

    Raises:
      ValueError: not floating; not (B, H, W[, 1]); shapes differ; smaller than `window`; and, for concrete arrays
        only: not finite, outside [0, 1] (0..255 and twice-scaled images are named as such).
    """
    arrays = {name: _as_batch(name, image) for name, image in images.items()}
    (first, reference), *others = arrays.items()
    for name, array in others:
        if array.shape != reference.shape:
            raise ValueError(f"{name} has shape {array.shape} but {first} has {reference.shape}; they must be equal")
    if min(reference.shape[1:3]) < window:
        height, width = reference.shape[1:3]
        raise ValueError(f"images of {height}x{width} are smaller than the metric's {window}x{window} window")
    concrete = {name: array for name, array in arrays.items() if not isinstance(array, jax.core.Tracer)}
    if concrete:
        for name, (low, high) in zip(concrete, _extremes(*concrete.values()).tolist(), strict=True):
            _check_range(name, low, high, allow_raw=name in raw)
    return list(arrays.values()), None if mask is None else _as_mask(mask, reference.shape)


def check_variant(variant: str, known: Collection[str]) -> None:
    """Raises ValueError, naming the `known` variants, where `variant` is none of them."""
    if variant not in known:
        raise ValueError(f"unknown variant {variant!r}; choose one of {', '.join(known)}")


def to_8bit(image: jax.Array, *, quantize: bool = True) -> jax.Array:
    """`image` times 255, floating: by `quantize` rounded, halves up, and cut to 0..255; else differentiable."""
    scaled = 255 * image
    return jnp.clip(jnp.floor(scaled + 0.5), 0, 255) if quantize else scaled


def _as_batch(name: str, image: ArrayLike) -> jax.Array:
    array = jnp.asarray(image)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} holds {array.dtype}; give floats in [0, 1] (8-bit images: divide by 255)")
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or array.shape[-1] != 1:
        raise ValueError(f"{name} has shape {jnp.shape(image)}; give (B, H, W, 1) or (B, H, W)")
    if array.size == 0:
        raise ValueError(f"{name} has shape {jnp.shape(image)}: there is no pixel in it")
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def _as_mask(mask: ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    array = jnp.asarray(mask)
    if array.shape not in (shape, shape[:3]):
        raise ValueError(f"mask has shape {array.shape} but the images have {shape}")
    return array.reshape(shape).astype(bool)


@jax.jit
def _extremes(*arrays: jax.Array) -> jax.Array:
    """(n, 2) minimum and maximum of each, in one call because every call waits for the device; NaN wins in both."""
    return jnp.stack([jnp.stack([array.min(), array.max()]) for array in arrays])


def _check_range(name: str, low: float, high: float, *, allow_raw: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} holds NaN or infinite values")
    found = f"{name} has values in [{low:.4g}, {high:.4g}]"
    if 0 <= low and RAW_LIMIT < high <= 255:
        raise ValueError(f"{found}: it looks like a 0..255 image; divide it by 255")
    if high > RAW_LIMIT or not allow_raw and (low < -RANGE_SLACK or high > 1 + RANGE_SLACK):
        raise ValueError(f"{found}, outside [0, 1]; scale or clip it")
    if 0 < high <= GREY_LEVEL + RANGE_SLACK and not allow_raw:
        raise ValueError(
            f"{found}, one grey level of 8 bits at most: it looks like a [0, 1] image divided by 255 "
            "once more; leave that division out"
        )
