"""Visual information fidelity: the share of a source's information that an eye could still get from the fused image.

Images are (B, H, W, 1) float in [0, 1], at least 41x41; results are (B,). The pixel-domain, multi-scale form (VIFp).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from fusioninn_jax.metrics import _inputs
from fusioninn_jax.ssim import band_matrix

WINDOWS = (17, 9, 5, 3)  # one per scale, finest first; the Gaussian's sigma is a fifth
EYE_NOISE = 2.0  # variance of the eye's noise, squared grey levels
TINY = 1e-10
MIN_SIZE = 41  # leaves one window at the coarsest scale


def _taps(window: int) -> tuple[float, ...]:
    """The Gaussian weights of a window, of sum 1."""
    distance = np.arange(window) - window // 2
    weights = np.exp(-(distance**2) / (2 * (window / 5) ** 2))
    return tuple((weights / weights.sum()).tolist())


def _average(x: jax.Array, window: int) -> jax.Array:
    """Gaussian average of (B, H, W, 1) on the valid region: two banded matrix products, as in `ssim.blur`."""
    rows, columns = (jnp.asarray(band_matrix(size, _taps(window)), x.dtype) for size in x.shape[1:3])
    half = jnp.einsum("hH,bHWc->bhWc", rows, x, precision="highest")
    return jnp.einsum("bhWc,wW->bhwc", half, columns, precision="highest")


def _scales(a: jax.Array, b: jax.Array) -> Iterator[tuple[jax.Array, jax.Array, int, int, int]]:
    """Both images at each scale, with window, stride and offset: pixel i there is pixel offset + stride i here."""
    stride, offset = 1, 0
    for window in WINDOWS:
        if window != WINDOWS[0]:
            a, b = (_average(x, window)[:, ::2, ::2] for x in (a, b))
            offset, stride = offset + stride * (window // 2), 2 * stride
        yield a, b, window, stride, offset


def _information(reference: jax.Array, image: jax.Array, window: int) -> tuple[jax.Array, jax.Array]:
    """Maps of the information, in nats, that the eye gets from the image about the reference, and from the latter.

    Locally image = gain * reference + noise; a negative gain carries nothing.
    """
    mean_r, mean_i = _average(reference, window), _average(image, window)
    variance_r = jnp.maximum(_average(reference**2, window) - mean_r**2, 0)
    variance_i = jnp.maximum(_average(image**2, window) - mean_i**2, 0)
    covariance = _average(reference * image, window) - mean_r * mean_i
    informative = (variance_r >= TINY) & (variance_i >= TINY) & (covariance > 0)
    gain = jnp.where(informative, covariance / (jnp.where(informative, variance_r, 1) + TINY), 0)
    noise = jnp.maximum(variance_i - gain * covariance, TINY)
    variance_r = jnp.where(variance_r >= TINY, variance_r, 0)
    return jnp.log1p(gain**2 * variance_r / (noise + EYE_NOISE)), jnp.log1p(variance_r / EYE_NOISE)


def _vifp(reference: jax.Array, image: jax.Array, mask: jax.Array | None) -> jax.Array:
    """VIFp of 0..255 images: information kept over information there, both summed over windows and scales."""
    kept, there = jnp.zeros((2, len(image)), image.dtype)
    for a, b, window, stride, offset in _scales(reference, image):
        of_image, of_reference = _information(a, b, window)
        weights = jnp.ones_like(of_image)
        if mask is not None:  # a window counts where its central pixel does
            start = offset + stride * (window // 2)
            rows, columns = of_image.shape[1:3]
            weights = mask[:, start::stride, start::stride][:, :rows, :columns].astype(of_image.dtype)
        kept += (of_image * weights).sum((1, 2, 3))
        there += (of_reference * weights).sum((1, 2, 3))
    return jnp.where(there > 0, kept / jnp.where(there > 0, there, 1), 1)


@functools.partial(jax.jit, static_argnames="quantize")
def _vif(x1: jax.Array, x2: jax.Array, fused: jax.Array, mask: jax.Array | None, *, quantize: bool) -> jax.Array:
    x1, x2, fused = (_inputs.to_8bit(image, quantize=quantize) for image in (x1, x2, fused))
    return _vifp(x1, fused, mask) + _vifp(x2, fused, mask)


def vif(
    x1: ArrayLike, x2: ArrayLike, fused: ArrayLike, *, mask: ArrayLike | None = None, quantize: bool = True
) -> jax.Array:
    """Visual information fidelity (VIF) of the fused image for its sources: VIFp(x1, y) + VIFp(x2, y).

    VIFp = sum ln(1 + g^2 s^2 / (v + n)) / sum ln(1 + s^2 / n) over windows and four scales, with s^2 the reference's
    local variance, g = cov / s^2 the local gain, v = var(y) - g cov what the gain does not explain, and n = 2 the
    eye's noise (squared grey levels). Negative gains count as 0. The sum over the sources is the literature's usual
    fusion form; halve it for the mean. (VIFF, Han et al. 2013, is another metric.)

    Rewards local detail of either source, kept or amplified. Traps: contrast enhancement exceeds 1 per source;
    a fused image equal to one source already scores 1 for it.

    Args:
      x1: (B, H, W, 1) in [0, 1], H and W at least 41.
      x2: the same shape.
      fused: the same shape.
      mask: (B, H, W, 1), true where a pixel counts (as the centre of a window, at every scale).
      quantize: round to 8 bits first; False keeps the gradient.

    Returns:
      (B,), 0 or more, 2 when all three images are equal; a constant source, with nothing to lose, adds 1 (an empty mask
      likewise); 0 when only the fused image is constant.

    Raises:
      ValueError: shapes or ranges are wrong, or values are not finite.

    Source: Sheikh & Bovik 2006, "Image information and visual quality", eq. 8, in the pixel-domain form that its
    authors published with it.
    """
    (x1, x2, fused), mask = _inputs.prepare({"x1": x1, "x2": x2, "fused": fused}, mask=mask, window=MIN_SIZE)
    return _vif(x1, x2, fused, mask, quantize=quantize)
