"""Q_NCIE: nonlinear correlation information entropy of the two sources and the fused image.

Images are (B, H, W, 1) or (B, H, W), values in [0, 1], scored as 0..255; the result is (B,).
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fusioninn_jax.metrics._inputs import check_variant, prepare, to_8bit

BINS = 256
VARIANTS = ("toolbox", "fusioninn")


def _stretch(image: jax.Array, inside: jax.Array) -> jax.Array:
    """(B, N) -> (B, N): minimum and maximum of the pixels inside become 0 and 255; a constant image becomes 0."""
    low = jnp.min(image, axis=1, where=inside, initial=jnp.inf, keepdims=True)
    high = jnp.max(image, axis=1, where=inside, initial=-jnp.inf, keepdims=True)
    flat = ~(high > low)
    stretched = (image - jnp.where(flat, 0, low)) * (BINS - 1) / jnp.where(flat, 1, high - low)
    return jnp.where(flat, 0, jnp.clip(stretched, 0, BINS - 1))


def _entropy(probability: jax.Array) -> jax.Array:
    """Over the last axis, in units of log 256."""
    present = probability > 0
    return -jnp.sum(probability * jnp.log(jnp.where(present, probability, 1)), axis=-1) / np.log(BINS)


def _joint(a: jax.Array, b: jax.Array, weight: jax.Array, quantize: bool) -> jax.Array:
    """Joint distribution (B, 256, 256) of two (B, N) images of 0..255 under pixel weights (B, N) that sum to 1."""
    batch = jnp.arange(a.shape[0])[:, None]
    counts = jnp.zeros((a.shape[0], BINS * BINS), a.dtype)
    if quantize:
        cell = jnp.floor(a + 0.5).astype(jnp.int32) * BINS + jnp.floor(b + 0.5).astype(jnp.int32)
        return counts.at[batch, cell].add(weight).reshape(-1, BINS, BINS)
    # a pixel between grey levels is shared by its four neighbours, linearly: the histogram becomes differentiable
    low_a, low_b = (jnp.minimum(jnp.floor(x), BINS - 2).astype(jnp.int32) for x in (a, b))
    part_a, part_b = a - low_a.astype(a.dtype), b - low_b.astype(b.dtype)
    for step_a, share_a in ((0, 1 - part_a), (1, part_a)):
        for step_b, share_b in ((0, 1 - part_b), (1, part_b)):
            cell = (low_a + step_a) * BINS + low_b + step_b
            counts = counts.at[batch, cell].add(weight * share_a * share_b)
    return counts.reshape(-1, BINS, BINS)


def _correlation(joint: jax.Array) -> jax.Array:
    """NCC = Hx + Hy - Hxy, (B,)."""
    return _entropy(joint.sum(2)) + _entropy(joint.sum(1)) - _entropy(joint.reshape(joint.shape[0], -1))


@functools.partial(jax.jit, static_argnames="quantize")
def _score(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None, quantize: bool) -> jax.Array:
    flat = [to_8bit(image, quantize=quantize).reshape(image.shape[0], -1) for image in (x1, x2, fused)]
    inside = jnp.ones(flat[0].shape, bool) if mask is None else mask.reshape(flat[0].shape)
    a, b, f = (_stretch(image, inside) for image in flat)
    weight = inside.astype(a.dtype) / jnp.maximum(inside.sum(1, keepdims=True), 1).astype(a.dtype)
    ab, af, bf = (_correlation(_joint(x, y, weight, quantize)) for x, y in ((a, b), (a, f), (b, f)))
    one = jnp.ones_like(ab)
    matrix = jnp.stack([one, ab, af, ab, one, bf, af, bf, one], -1).reshape(-1, 3, 3)
    eigenvalues = jnp.maximum(jnp.linalg.eigvalsh(matrix), 0)  # rounding may leave -1e-8
    return 1 - _entropy(eigenvalues / 3)


def q_ncie(
    x1: ArrayLike,
    x2: ArrayLike,
    fused: ArrayLike,
    *,
    variant: str = "toolbox",
    mask: ArrayLike | None = None,
    quantize: bool = True,
) -> jax.Array:
    """Nonlinear correlation information entropy: how much the three images' grey levels tell of one another.

    Each image is min-max stretched to 0..255 and rounded; NCC(a, b) = H_a + H_b - H_ab from the 256-bin (joint)
    histograms, logarithms to base 256; the 3x3 matrix of the NCCs of (x1, x2, fused), with unit diagonal, has
    eigenvalues r, and the score is 1 + Σ (r/3) log_256(r/3).
    (Wang, Shen, Zhang, Zhang 2005, "A nonlinear correlation measure for multivariable data set", Physica D 200.)
    Range [0.80188, 1]: independent images give 1 - log_256(3) = 0.80188, which is why published rows read 0.805.
    It rewards any one-to-one relation of grey levels, an inverted image as much as a copy.

    Traps: the floor of 0.80188, so differences sit in the third decimal; the score also grows with the
    likeness of the two sources, in which the fused image has no part; NCC(a, a) is the entropy of a, not 1, so
    identical images stay under 1; a small mask leaves few pixels for 65536 joint bins and inflates the score.
    Constant images are defined: they tell nothing, NCC 0; three of them score the floor.

    Args:
      x1: first source, (B, H, W, 1) or (B, H, W), floats in [0, 1].
      x2: second source, the same shape.
      fused: the same shape.
      variant: 'toolbox' or 'fusioninn'; for this metric they are the same.
      mask: (B, H, W[, 1]), true inside the brain: stretch and histograms see mask pixels only (an empty mask gives
        the floor).
      quantize: round to 8 bits first; False shares each pixel linearly between neighbouring bins, which equals the
        plain histogram where stretched values are whole numbers and is differentiable between them.

    Returns:
      (B,).

    Raises:
      ValueError: shapes differ, unknown variant; outside jit also NaN or values outside [0, 1].
    """
    check_variant(variant, VARIANTS)
    (x1, x2, fused), mask = prepare({"x1": x1, "x2": x2, "fused": fused}, mask=mask)
    return _score(x1, x2, fused, mask, quantize=quantize)
