"""DDFM's correction of a diffusion model's estimate towards both sources: one step of expectation-maximisation.

With the sources I and V and the fused image f, x = f - V and y = I - V obey a hierarchical model: y - x and x are
Laplacian, written as Gaussians whose variances m (of y - x) and n (of x) are exponentially distributed with means τ_a
and τ_b. A quadratic prior on the gradient of y - x = I - f enters by half-quadratic splitting: h stands for y - x, and
(f1, f2) for h's differences along columns and rows. In one step, every pixel for itself but for h:

  E step      C = E[1/m] = √(2/τ_a) / |y - x|,  D = E[1/n] = √(2/τ_b) / |x|,  D cut to 2C
  scales      τ_a ← mean E[m] = mean(1/C + τ_a/2),  τ_b likewise from D
  TV prox     h = argmin ‖h - (y - x)‖² + ‖k1 * h - f1‖² + ‖k2 * h - f2‖²,  by FFT
  splitting   f = argmin λ‖f‖² + ρ/2 ‖f - ∇h‖² = ρ / (2λ + ρ) ∇h
  M step      x = argmin C (y - x)² + D x² + ρ/2 (y - x - h)²

Images are (B, H, W, 1) floats in any range, here [-1, 1]; scales are (B,), for each image its own. All functions are
pure, and keep the precision of their inputs.

Source: Zhao et al. 2023, "DDFM: denoising diffusion model for multi-modality image fusion" (arXiv 2303.06840),
section 3.3 and algorithm 2, as the authors' code computes it. Two things there are kept for its numbers' sake:
- The result is f = I - x, though x was f - V: an estimate comes back mirrored about the mean of the sources, so one
  that equals I comes back as V.
- The operators k (h's next pixel minus this one, around the border) and ∇ (this pixel minus the next one, zero beyond
  the border) differ in sign. With ρ / (2λ + ρ) = 0.001 it hardly matters.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

OFFSET = 1e-6  # keeps C and D finite
SCALE_OFFSET = 1e-10  # of D and C where the scales divide by them


class EMState(NamedTuple):
    """What one EM step hands to the next.

    Attributes:
      tau_a: (B,), mean variance of y - x.
      tau_b: (B,), mean variance of x.
      f1: (B, H, W, 1), splitting variable of the differences along columns.
      f2: (B, H, W, 1), the same along rows.
    """

    tau_a: jax.Array
    tau_b: jax.Array
    f1: jax.Array
    f2: jax.Array


def initial_state(like: jax.Array) -> EMState:
    """The state before the first step, for images shaped as `like`, (B, H, W, 1): scales 1, splitting variables 0."""
    ones, zeros = jnp.ones(len(like), like.dtype), jnp.zeros_like(like)
    return EMState(ones, ones, zeros, zeros)


def _per_image(scale: jax.Array) -> jax.Array:
    """(B,) -> (B, 1, 1, 1)."""
    return scale[:, None, None, None]


def e_step(x: jax.Array, y: jax.Array, tau_a: jax.Array, tau_b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Expected inverse variances given x, y and the scales.

    Args:
      x: (B, H, W, 1), f - V.
      y: (B, H, W, 1), I - V.
      tau_a: (B,), positive.
      tau_b: (B,), positive.

    Returns:
      C = E[1/m] and D = E[1/n] of y - x and of x, each (B, H, W, 1), before D is cut. C may be infinite at a pixel
      where y - x is -OFFSET exactly.
    """
    c = jnp.sqrt(2 / _per_image(tau_a)) / jnp.abs(y - x + OFFSET)
    d = jnp.sqrt(2 / (_per_image(tau_b) * (x**2 + OFFSET)))
    return c, d


def update_scale(weight: jax.Array, tau: jax.Array) -> jax.Array:
    """The mean over an image of E[variance] = 1/weight + τ/2: the new scale, (B,).

    Args:
      weight: (B, H, W, 1), C for τ_a, D for τ_b.
      tau: (B,), the old scale.
    """
    return (1 / (weight + SCALE_OFFSET)).mean((1, 2, 3)) + tau / 2


def difference_transfer(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Transfer functions of the differences k1 along columns and k2 along rows, laid out as `rfft2` does.

    Of [1, -1] and its transpose centred as MATLAB's psf2otf does: (k * h)[n] = h[n + 1] - h[n], periodic.

    Returns:
      k1 (1, width // 2 + 1) and k2 (height, 1), complex128.
    """
    along_columns = np.exp(2j * np.pi * np.fft.rfftfreq(width))[None, :] - 1
    along_rows = np.exp(2j * np.pi * np.fft.fftfreq(height))[:, None] - 1
    return along_columns, along_rows


def tv_prox(residual: jax.Array, f1: jax.Array, f2: jax.Array) -> jax.Array:
    """h that minimises ‖h - residual‖² + ‖k1 * h - f1‖² + ‖k2 * h - f2‖², periodic borders.

    Args:
      residual: (B, H, W, 1), y - x.
      f1: (B, H, W, 1).
      f2: (B, H, W, 1).

    Returns:
      (B, H, W, 1).
    """
    height, width = residual.shape[1:3]
    k1, k2 = difference_transfer(height, width)

    def transform(image: jax.Array) -> jax.Array:
        return jnp.fft.rfft2(image[..., 0])

    spectrum = transform(residual)
    conjugates = [jnp.asarray(k.conj(), spectrum.dtype) for k in (k1, k2)]
    energy = jnp.asarray(1 + np.abs(k1) ** 2 + np.abs(k2) ** 2, residual.dtype)
    spectrum = (spectrum + conjugates[0] * transform(f1) + conjugates[1] * transform(f2)) / energy
    return jnp.fft.irfft2(spectrum, (height, width))[..., None]


def tv_split(h: jax.Array, *, lam: float, rho: float) -> tuple[jax.Array, jax.Array]:
    """The splitting variables that go with `h`: ρ / (2λ + ρ) times its differences along columns and along rows.

    A difference is this pixel minus the next one, 0 beyond the last. Takes and gives (B, H, W, 1); `lam` is λ, `rho` ρ.
    """
    share = rho / (2 * lam + rho)
    next_column = jnp.pad(h[:, :, 1:], ((0, 0), (0, 0), (0, 1), (0, 0)))
    next_row = jnp.pad(h[:, 1:], ((0, 0), (0, 1), (0, 0), (0, 0)))
    return share * (h - next_column), share * (h - next_row)


def m_step(y: jax.Array, h: jax.Array, c: jax.Array, d: jax.Array, *, rho: float) -> jax.Array:
    """x that minimises C (y - x)² + D x² + ρ/2 (y - x - h)², pixel by pixel.

    `y`, `h`, `c` (C) and `d` (D) are (B, H, W, 1) like the result, `rho` is ρ.

    That is (2C y + ρ (y - h)) / (2C + 2D + ρ), divided through by C, so that an infinite C gives y.
    """
    slack = 1 / c
    return (2 * y + rho * slack * (y - h)) / (2 + (2 * d + rho) * slack)


def em_step(
    estimate: jax.Array, first: jax.Array, second: jax.Array, state: EMState, *, lam: float = 0.5, rho: float = 0.001
) -> tuple[jax.Array, EMState]:
    """One whole EM step.

    Args:
      estimate: (B, H, W, 1), f: the diffusion model's estimate of the fused image (of its luma).
      first: (B, H, W, 1), I: the source whose gradients the prior keeps (T1-Gd).
      second: (B, H, W, 1), V (T2-FLAIR).
      state: of the step before, or `initial_state`.
      lam: λ, weight of the prior on the gradients.
      rho: ρ, weight of the half-quadratic splitting.

    Returns:
      the corrected f, (B, H, W, 1), and the new state.
    """
    x, y = estimate - second, first - second
    c, d = e_step(x, y, state.tau_a, state.tau_b)
    d = jnp.minimum(d, 2 * c)
    h = tv_prox(y - x, state.f1, state.f2)
    new_state = EMState(update_scale(c, state.tau_a), update_scale(d, state.tau_b), *tv_split(h, lam=lam, rho=rho))
    return first - m_step(y, h, c, d, rho=rho), new_state
