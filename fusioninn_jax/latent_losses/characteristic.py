"""A latent loss made of sums: is z drawn from N(0, I), and independent of the fused image?

Every statistic is a sum over pixels, or over patches that do not overlap, so devices share it by adding some thousand
numbers: no gather, no sort, and a cost that does not grow with their number. Latents are (B, H, W, C), all channels
are tested together. Each term is a squared deviation T ≥ 0 from what N(0, I) gives, and enters as

    log((s + T) / (s + E[T])),

E[T] being its expected value under N(0, I) with as many pixels: about 0 for draws from N(0, I), whatever the batch
(below it by half the relative variance of T, as the logarithm bends). The logarithm tames the start of training.

  pixels: characteristic function of each channel's values against exp(-t²/2) (Epps and Pulley 1983, "A test for
    normality based on the empirical characteristic function"), weighted by exp(-t²/2), at the centres of patches.
  patches: the same of projections of 3x3xC patches on directions that are drawn anew for each key.
  tails: the means of the Hermite polynomials He1 to He4 (mean, variance, skewness, kurtosis): large values, to which
    a characteristic function is blind.
  neighbours: covariances with neighbours up to 2 pixels away and with the other channels.
  picture: the share of p, |p| and p² (p a projection of z's patch) that a linear regression on features of the fused
    image's patch explains, its R².
  places: the share of z and z² that the place in the image explains, in blocks of 8x8 pixels (analysis of variance).
  phases: the share that the place within cells of 4x4 pixels explains, which a flow's constant shifts can set.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax.latent_losses.latent_sums import CELL, DENSE, LAGS, Sums, T, local_sums

NORMAL = np.exp(-(T**2) / 2)  # the characteristic function of N(0, 1)
EPPS_PULLEY = NORMAL / NORMAL.sum()
RIDGE = 1e-5  # of the regression, at least
ROUNDING = 3e-6  # of float32, beside the trace of the Gram matrix: features may be equal, or large
SCALE = 1e-2  # s of every term: how large a deviation still matters

Share = Callable[[Sums], Sums]


def _wave_deviation(waves: jax.Array, count: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean Σ_t w(t) |c(t) - exp(-t²/2)|² and what it is for as many independent draws."""
    cosines, sines = waves / jnp.maximum(count, 1)
    squares = (cosines - NORMAL[:, None]) ** 2 + sines**2
    return (EPPS_PULLEY @ squares).mean(), EPPS_PULLEY @ (1 - NORMAL**2) / jnp.maximum(count, 1)


def _lag_deviation(sums: Sums) -> tuple[jax.Array, jax.Array]:
    """Sum of the squared covariances of different values, and its expectation."""
    counts = jnp.maximum(sums.lags, 1)
    squares = (sums.products / counts[:, None, None]) ** 2
    channels = squares.shape[-1]
    # at lag 0 channels meet twice, and themselves
    wanted = np.ones(squares.shape, np.float32)
    wanted[LAGS.index((0, 0))] = np.triu(wanted[0], 1)
    expected = (wanted * ((sums.lags > 0) / counts)[:, None, None]).sum()
    return (wanted * squares).sum() / channels, expected / channels


def _regression_share(sums: Sums) -> tuple[jax.Array, jax.Array]:
    """Mean R² of the tests on the features, variances those of N(0, 1), and its expectation."""
    count = jnp.maximum(sums.patches, 1)
    gram = sums.features / count
    ridge = jnp.maximum(RIDGE, ROUNDING * jnp.trace(gram))
    factor = jnp.linalg.cholesky(gram + ridge * jnp.eye(len(gram), dtype=gram.dtype))

    def whitened(x: jax.Array) -> jax.Array:
        return jax.scipy.linalg.solve_triangular(factor, x, lower=True)

    explained = (whitened(sums.cross / count) ** 2).sum(0).mean()
    rank = jnp.trace(whitened(whitened(sums.features / count).T))
    return explained, rank / count


def deviations(sums: Sums) -> dict[str, tuple[jax.Array, jax.Array]]:
    """For each term T and E[T], its expected value under N(0, I).

    Args:
      sums: of all devices.
    """
    pixels, channels = jnp.maximum(sums.pixels, 1), sums.hermite.shape[-1]
    dense, centres, pairs = jnp.split(sums.waves, (DENSE, DENSE + channels), axis=-1)
    return {
        "pixels": _wave_deviation(centres, sums.patches),
        "patches": _wave_deviation(jnp.concatenate([dense, pairs], -1), sums.patches),
        "tails": (((sums.hermite / pixels) ** 2).sum() / channels, 4 / pixels),
        "neighbours": _lag_deviation(sums),
        "picture": _regression_share(sums),
        "places": (sums.squares.mean() / pixels, sums.blocks / pixels),
        "phases": ((sums.phases**2 / jnp.maximum(sums.phase_pixels, 1)).sum(0).mean() / pixels, CELL**2 / pixels),
    }


def characteristic_terms(
    latent: jax.Array, fused: jax.Array, mask: jax.Array | None, key: jax.Array, *, share: Share = lambda sums: sums
) -> dict[str, jax.Array]:
    """The terms of `characteristic` by name, each log((s + T) / (s + E[T])), 0 where no pixel counts.

    Args:
      latent: as of `characteristic`, like all others.
      fused: the fused image.
      mask: where a pixel counts.
      key: of what is drawn.
      share: adds up over devices.
    """
    latent, fused = (x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in (latent, fused))
    mask = jnp.ones((*latent.shape[:-1], 1), bool) if mask is None else mask
    sums = share(local_sums(latent, fused, mask, key))

    def term(value: jax.Array, expected: jax.Array) -> jax.Array:
        return jnp.where(sums.pixels > 0, jnp.log((SCALE + value) / (SCALE + expected)), 0)

    return {name: term(*of_term) for name, of_term in deviations(sums).items()}


def characteristic(
    latent: jax.Array, fused: jax.Array, mask: jax.Array | None, key: jax.Array, *, share: Share = lambda sums: sums
) -> jax.Array:
    """How far the latents are from N(0, I), independent of the fused image: the mean of the terms above.

    Computed in float32 at least. Gradients are of reverse mode only (`jax.grad`; no `jax.jvp`, no `jax.hessian`).

    Args:
      latent: (B, H, W, C), this device's.
      fused: (B, H, W, 1), about [0, 1]; no gradient flows to it.
      mask: (B, H, W, 1) bool, true where a pixel counts; None: everywhere. Of patches the values inside count,
        those whose centre is inside.
      key: of the directions, the patches' grid and the random features; the same on every device, another each step.
      share: adds up a pytree over all devices, e.g. `lambda sums: jax.lax.psum(sums, axis)`; by default one device.

    Returns:
      a scalar, 0 on average for draws from N(0, I), up to the logarithm; 0 where no pixel counts.
    """
    return jnp.stack(list(characteristic_terms(latent, fused, mask, key, share=share).values())).mean()
