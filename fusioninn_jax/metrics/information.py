"""What an image holds and what two share, in bits: entropy and mutual information of 8-bit grey levels.

Images are (B, H, W, 1) float in [0, 1], quantised to 0..255 by floor(255 x + 0.5); results are (B,). Both come from
histograms, so neither has a useful gradient. A mask counts the pixels where it is true; an empty one gives 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jax.typing import ArrayLike

from fusioninn_jax.metrics import _inputs

LEVELS = 256


def _histogram(bins: jax.Array, count: int, mask: jax.Array | None) -> jax.Array:
    """(B, ...) integers below `count` -> (B, count) shares of the pixels that count, by one scatter-add."""
    bins = bins.reshape(len(bins), -1)
    weights = jnp.ones(bins.shape) if mask is None else mask.reshape(bins.shape).astype(float)
    rows = jnp.arange(len(bins))[:, None]
    counts = jnp.zeros((len(bins), count), weights.dtype).at[rows, bins].add(weights)
    return counts / jnp.maximum(counts.sum(1, keepdims=True), 1)


def _entropy_of(probabilities: jax.Array) -> jax.Array:
    """-sum p log2 p over the last axis, with 0 log 0 = 0."""
    return -xlogy(probabilities, probabilities).sum(-1) / jnp.log(2.0)


def _levels(image: jax.Array) -> jax.Array:
    return _inputs.to_8bit(image).astype(jnp.int32)


@jax.jit
def _entropy(fused: jax.Array, mask: jax.Array | None) -> jax.Array:
    return _entropy_of(_histogram(_levels(fused), LEVELS, mask))


def entropy(fused: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Shannon entropy (EN) of the grey levels: -sum_k p_k log2 p_k.

    Rewards many grey levels used evenly, wherever they come from. Trap: noise has more of it than anatomy, and a black
    background lowers it for every system alike.

    Args:
      fused: (B, H, W, 1) in [0, 1].
      mask: (B, H, W, 1), true where a pixel counts.

    Returns:
      (B,) bits in [0, 8]; 0 for a constant image.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.

    Source: Roberts, van Aardt, Ahmed 2008, "Assessment of image fusion procedures using entropy, image quality, and
    multispectral classification".
    """
    (fused,), mask = _inputs.prepare({"fused": fused}, mask=mask)
    return _entropy(fused, mask)


@jax.jit
def _mutual_information(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None) -> jax.Array:
    of_fused = _levels(fused)

    def shared(source: jax.Array) -> jax.Array:
        joint = _histogram(_levels(source) * LEVELS + of_fused, LEVELS**2, mask)
        table = joint.reshape(-1, LEVELS, LEVELS)
        return _entropy_of(table.sum(2)) + _entropy_of(table.sum(1)) - _entropy_of(joint)

    return jnp.maximum(shared(x1), 0) + jnp.maximum(shared(x2), 0)  # below 0 by rounding only


def mutual_information(x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, *, mask: ArrayLike | None = None) -> jax.Array:
    """Mutual information (MI) of the fused image with each source: I(x1; y) + I(x2; y), I = H(a) + H(y) - H(a, y).

    The sum over the sources, in bits, with no normalisation: neither are images stretched to 0..255 first nor is I
    divided by an entropy (Hossny, Nahavandi, Creighton 2008 do the latter; so does Q_FMI here).

    Rewards a fused image from whose grey level a source's can be told, by any one-to-one relation, an inverted one
    too. Traps: copying the source of higher entropy scores well; a joint histogram of few pixels is biased upwards,
    so a small mask scores higher than a large one.

    Args:
      x1: (B, H, W, 1) in [0, 1].
      x2: the same shape.
      fused: the same shape.
      mask: (B, H, W, 1), true where a pixel counts.

    Returns:
      (B,) bits in [0, 16], at most H(x1) + H(x2); 0 when the fused image is constant.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.

    Source: Qu, Zhang, Yan 2002, "Information measure for performance of image fusion".
    """
    (x1, x2, fused), mask = _inputs.prepare({"x1": x1, "x2": x2, "fused": fused}, mask=mask)
    return _mutual_information(x1, x2, fused, mask)
