"""Contrast, detail and correlation: the metrics that are moments of grey levels and of their differences.

Images are (B, H, W, 1) float in [0, 1]; results are (B,). With quantize=True (the default, and the literature's) the
images first become the integers 0..255 by floor(255 x + 0.5); quantize=False keeps 255 x and with it the gradient.
A mask counts the pixels where it is true (a difference counts where all its pixels do); an empty one counts as a
constant image.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from fusioninn_jax import ssim
from fusioninn_jax.metrics import _inputs

# A variance (in squared grey levels) that only rounding leaves in a constant image; a single pixel off by one level
# exceeds it in images of up to a megapixel.
FLAT = 1e-6

_jit = functools.partial(jax.jit, static_argnames="quantize")


def _mean(values: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Mean of (B, h, w, 1) over the pixels that count: (B,), 0 where none does."""
    return ssim.masked_mean(values, mask)


def _root(x: jax.Array) -> jax.Array:
    """Square root with gradient 0, not infinity, at 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def _centred(x: jax.Array, mask: jax.Array | None) -> jax.Array:
    return x - _mean(x, mask)[:, None, None, None]


def _correlation(a: jax.Array, b: jax.Array, mask: jax.Array | None) -> jax.Array:
    """Pearson correlation per image, 0 where either is constant."""
    a, b = _centred(a, mask), _centred(b, mask)
    spread_a, spread_b = _mean(a * a, mask), _mean(b * b, mask)
    varies = (spread_a > FLAT) & (spread_b > FLAT)
    scale = _root(jnp.where(varies, spread_a, 1)) * _root(jnp.where(varies, spread_b, 1))
    return jnp.where(varies, jnp.clip(_mean(a * b, mask) / scale, -1, 1), 0)


def _differences(x: jax.Array, mask: jax.Array | None) -> list[tuple[jax.Array, jax.Array | None]]:
    """Forward differences down the rows and along the columns, each with the mask of those that count."""
    both = (None, None) if mask is None else (mask[:, 1:] & mask[:, :-1], mask[:, :, 1:] & mask[:, :, :-1])
    return [(x[:, 1:] - x[:, :-1], both[0]), (x[:, :, 1:] - x[:, :, :-1], both[1])]


@_jit
def _standard_deviation(fused: jax.Array, mask: jax.Array | None, *, quantize: bool) -> jax.Array:
    return _root(_mean(_centred(_inputs.to_8bit(fused, quantize=quantize), mask) ** 2, mask))


def standard_deviation(fused: ArrayLike, *, mask: ArrayLike | None = None, quantize: bool = True) -> jax.Array:
    """Standard deviation (SD) of the grey levels, sqrt(mean((y - mean(y))^2)): global contrast.

    Rewards strong contrast. Trap: over a whole slice it mostly measures how bright the brain stands out from the
    background; noise and over-stretching raise it.

    Args:
      fused: (B, H, W, 1) in [0, 1].
      mask: (B, H, W, 1), true where a pixel counts.
      quantize: round to 8 bits first.

    Returns:
      (B,) grey levels in [0, 127.5]; 0 for a constant image.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.

    Source: the textbook definition, with divisor N.
    """
    (fused,), mask = _inputs.prepare({"fused": fused}, mask=mask)
    return _standard_deviation(fused, mask, quantize=quantize)


@_jit
def _spatial_frequency(fused: jax.Array, mask: jax.Array | None, *, quantize: bool) -> jax.Array:
    pairs = _differences(_inputs.to_8bit(fused, quantize=quantize), mask)
    return _root(jnp.stack([_mean(difference**2, inside) for difference, inside in pairs]).sum(0))


def spatial_frequency(fused: ArrayLike, *, mask: ArrayLike | None = None, quantize: bool = True) -> jax.Array:
    """Spatial frequency (SF): sqrt(RF^2 + CF^2), RF and CF the root mean squares of the differences between
    neighbours along rows and along columns.

    The means are over the differences that exist (H (W - 1) and (H - 1) W of them); the paper divides by H W.

    Rewards sharp detail. Trap: noise and ringing score higher than anatomy.

    Args:
      fused, mask, quantize: as for `standard_deviation`, which names the errors too; H and W at least 2.

    Returns:
      (B,) grey levels in [0, 360.6]; 0 for a constant image.

    Source: Eskicioglu & Fisher 1995, "Image quality measures and their performance".
    """
    (fused,), mask = _inputs.prepare({"fused": fused}, mask=mask, window=2)
    return _spatial_frequency(fused, mask, quantize=quantize)


@_jit
def _average_gradient(fused: jax.Array, mask: jax.Array | None, *, quantize: bool) -> jax.Array:
    (down, _), (along, _) = _differences(_inputs.to_8bit(fused, quantize=quantize), None)
    inside = None if mask is None else mask[:, :-1, :-1] & mask[:, 1:, :-1] & mask[:, :-1, 1:]
    return _mean(_root((down[:, :, :-1] ** 2 + along[:, :-1] ** 2) / 2), inside)


def average_gradient(fused: ArrayLike, *, mask: ArrayLike | None = None, quantize: bool = True) -> jax.Array:
    """Average gradient (AG): mean of sqrt((dx^2 + dy^2) / 2), forward differences at the (H - 1)(W - 1) pixels that
    have a right and a lower neighbour.

    Rewards sharp detail, weak edges in proportion, unlike SF. Trap: noise; some toolboxes take central differences
    (smaller values), so compare only figures made alike.

    Args:
      fused, mask, quantize: as for `standard_deviation`, which names the errors too; H and W at least 2.

    Returns:
      (B,) grey levels in [0, 255]; 0 for a constant image.

    Source: Cui, Feng, Xu, Li, Chen 2015, "Detail preserved fusion of visible and infrared images using regional
    saliency extraction and multi-scale image decomposition".
    """
    (fused,), mask = _inputs.prepare({"fused": fused}, mask=mask, window=2)
    return _average_gradient(fused, mask, quantize=quantize)


def _prepare_8bit(x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, mask: ArrayLike | None, *, quantize: bool):
    images, mask = _inputs.prepare({"x1": x1, "x2": x2, "fused": fused}, mask=mask)
    return *(_inputs.to_8bit(image, quantize=quantize) for image in images), mask


@jax.jit
def _mean_correlation(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None) -> jax.Array:
    return (_correlation(x1, fused, mask) + _correlation(x2, fused, mask)) / 2


def correlation(
    x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, *, mask: ArrayLike | None = None, quantize: bool = True
) -> jax.Array:
    """Correlation coefficient (CC): (r(x1, y) + r(x2, y)) / 2, r Pearson's.

    Rewards linear likeness to both sources, whatever the gain and offset. Trap: over whole slices the shared black
    background lifts it; the mean of two sources of equal variance maximises it among linear mixtures.

    Args:
      x1: (B, H, W, 1) in [0, 1].
      x2: the same shape.
      fused: the same shape.
      mask: (B, H, W, 1), true where a pixel counts.
      quantize: round to 8 bits first.

    Returns:
      (B,) in [-1, 1]; a constant image correlates 0 with any.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.

    Source: Deshmukh & Bhosale 2010, "Image fusion and image quality assessment of fused images".
    """
    return _mean_correlation(*_prepare_8bit(x1, x2, fused, mask, quantize=quantize))


@jax.jit
def _scd(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None) -> jax.Array:
    return _correlation(fused - x2, x1, mask) + _correlation(fused - x1, x2, mask)


def scd(
    x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, *, mask: ArrayLike | None = None, quantize: bool = True
) -> jax.Array:
    """Sum of the correlations of differences (SCD): r(y - x2, x1) + r(y - x1, x2), r Pearson's.

    Rewards a fused image that, one source taken away, leaves the other: y = x1 + x2 scores 2. Trap: it prefers
    brightness sums to means, and a fused image equal to one source gains nothing from that source.

    Args:
      x1, x2, fused, mask, quantize: as for `correlation`, which names the errors too.

    Returns:
      (B,) in [-2, 2]; a constant image or difference correlates 0 with any.

    Source: Aslantas & Bendes 2015, "A new image quality metric for image fusion: the sum of the correlations of
    differences".
    """
    return _scd(*_prepare_8bit(x1, x2, fused, mask, quantize=quantize))
