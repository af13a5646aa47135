"""Gaussian diffusion: the noise schedule, the training loss, and deterministic sampling with a correction.

x_t = √ᾱ_t x_0 + √(1 - ᾱ_t) ε for t = 0 … T - 1, images (B, H, W, C) in [-1, 1]. A network's output holds its estimate
of ε in the first C channels; where it has 2C, the others set the variance of a step back, in training only.

Sources: Ho et al. 2020, "Denoising diffusion probabilistic models" (DDPM); Song et al. 2021, "Denoising diffusion
implicit models" (DDIM); Nichol & Dhariwal 2021, "Improved denoising diffusion probabilistic models" (iDDPM).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

VARIATIONAL_WEIGHT = 1e-3  # of the variational bound beside the squared error, iDDPM section 3.1
LEVEL = 2 / 255  # a grey level of an image in [-1, 1]

Denoiser = Callable[[jax.Array, jax.Array], jax.Array]  # (x_t (B, H, W, C), times (B,)) -> (B, H, W, C or 2C)
State = TypeVar("State")  # of a correction: a pytree of arrays
Correction = Callable[[jax.Array, State], tuple[jax.Array, State]]  # (x_0 estimate, state) -> (corrected, new state)


def linear_betas(steps: int = 1000) -> np.ndarray:
    """β of so many `steps`, (steps,) float64: 1e-4 to 0.02, stretched where there are not 1000 (DDPM section 4)."""
    return np.linspace(1e-4, 0.02, steps) * (1000 / steps)


def signal_share(betas: np.ndarray) -> np.ndarray:
    """ᾱ_t = Π (1 - β) of `betas`, (T,) float64 both."""
    return np.cumprod(1 - betas)


def respaced(steps: int, kept: int) -> np.ndarray:
    """`kept` of the time steps 0 … steps - 1, evenly spaced, both ends among them, ascending.

    Raises:
      ValueError: fewer than 2 or more than there are.
    """
    if not 2 <= kept <= steps:
        raise ValueError(f"ddfm.steps is {kept}; it must lie between 2 and the {steps} steps of the diffusion")
    return np.round(np.arange(kept) * (steps - 1) / (kept - 1)).astype(np.int32)


Numbers = Any  # an array of JAX or NumPy: a scalar, or (kept,)


class Step(NamedTuple):
    """One step of sampling, or all of them stacked: from x_t to the x of the next time t'.

    Attributes:
      time: t.
      signal: √ᾱ_t.
      spread: √(1 - ᾱ_t).
      next_signal: √ᾱ_t'.
      next_spread: √(1 - ᾱ_t').
    """

    time: Numbers
    signal: Numbers
    spread: Numbers
    next_signal: Numbers
    next_spread: Numbers


def sampling_steps(betas: np.ndarray, kept: int) -> Step:
    """The steps of a sampling, from last to first; the last of them leads to the clean image, ᾱ = 1.

    Args:
      betas: (T,), β of the whole diffusion.
      kept: how many of its steps are taken, see `respaced`.
    """
    times = respaced(len(betas), kept)[::-1]
    shares = signal_share(betas)[times]
    following = np.append(shares[1:], 1.0)
    return Step(times, np.sqrt(shares), np.sqrt(1 - shares), np.sqrt(following), np.sqrt(1 - following))


def ddim_step(
    x: jax.Array, noise: jax.Array, step: Step, correct: Correction[State], state: State
) -> tuple[jax.Array, State]:
    """One deterministic step (η = 0) whose estimate of the clean image is clipped, then corrected.

    x̂_0 = clip((x - √(1 - ᾱ) ε) / √ᾱ, ±1), corrected; ε anew from it; then √ᾱ' x̂_0 + √(1 - ᾱ') ε.

    Args:
      x: (B, H, W, C), x_t.
      noise: (B, H, W, C), the network's ε.
      step: scalars.
      correct: takes and gives a state of its own.
      state: for `correct`.

    Returns:
      x at the next time, and the new state. Source: DDIM eq. 12; the correction DDFM algorithm 1.
    """
    start, state = correct(jnp.clip((x - step.spread * noise) / step.signal, -1, 1), state)
    noise = (x - step.signal * start) / step.spread
    return step.next_signal * start + step.next_spread * noise, state


def uncorrected(start: jax.Array, state: State) -> tuple[jax.Array, State]:
    """The correction that changes neither `start` nor `state`: plain DDIM."""
    return start, state


def sample(
    denoise: Denoiser, noise: jax.Array, steps: Step, correct: Correction = uncorrected, state: Any = None
) -> jax.Array:
    """Runs a diffusion model backwards, as one `lax.scan` over the steps.

    Args:
      denoise: the network.
      noise: (B, H, W, C) standard normal, where it starts.
      steps: from `sampling_steps`.
      correct: `(x̂_0, state) -> (x̂_0, state)`, applied at every step.
      state: its first state, a pytree of arrays.

    Returns:
      (B, H, W, C), the last corrected x̂_0, nominally in [-1, 1].
    """
    channels = noise.shape[-1]
    steps = Step(jnp.asarray(steps.time), *[jnp.asarray(factors, noise.dtype) for factors in steps[1:]])

    def body(carry: tuple[jax.Array, State], step: Step) -> tuple[tuple[jax.Array, State], None]:
        x, state = carry
        estimate = denoise(x, jnp.full(len(x), step.time))[..., :channels]
        return ddim_step(x, estimate, step, correct, state), None

    return jax.lax.scan(body, (noise, state), steps)[0][0]


def _at(times: jax.Array, values: np.ndarray, dtype: jnp.dtype) -> jax.Array:
    """What (T,) values are at (B,) times, as (B, 1, 1, 1)."""
    return jnp.asarray(values, dtype)[times][:, None, None, None]


def denoising_loss(denoise: Denoiser, clean: jax.Array, keys: jax.Array, betas: np.ndarray) -> jax.Array:
    """Squared error of the estimated noise at a random time; with a learned variance also the variational bound.

    Args:
      denoise: the network.
      clean: (B, H, W, C) in [-1, 1].
      keys: (B,); an image's time and noise are drawn from its own.
      betas: (T,).

    Returns:
      (B,), the mean over pixels and channels. Source: DDPM eq. 14; iDDPM eq. 16 where the network's output has 2C
      channels.
    """

    def draw(key: jax.Array, image: jax.Array) -> tuple[jax.Array, jax.Array]:
        time_key, noise_key = jax.random.split(key)
        return (jax.random.randint(time_key, (), 0, len(betas)), jax.random.normal(noise_key, image.shape, image.dtype))

    times, noise = jax.vmap(draw)(keys, clean)
    share = signal_share(betas)
    signal, spread = _at(times, np.sqrt(share), clean.dtype), _at(times, np.sqrt(1 - share), clean.dtype)
    noisy = signal * clean + spread * noise
    output = denoise(noisy, times)
    estimate, variance = output[..., : clean.shape[-1]], output[..., clean.shape[-1] :]
    loss = ((estimate - noise) ** 2).mean((1, 2, 3))
    if not variance.shape[-1]:
        return loss
    bound = variational_bound(clean, noisy, jax.lax.stop_gradient(estimate), variance, times, betas)
    return loss + VARIATIONAL_WEIGHT * len(betas) * bound


def variational_bound(
    clean: jax.Array, noisy: jax.Array, noise: jax.Array, variance: jax.Array, times: jax.Array, betas: np.ndarray
) -> jax.Array:
    """One term of the variational bound per image, in bits per value: of q(x_{t-1} | x_t, x_0) from the model's step.

    The model's log-variance lies between those of β̃_t and β_t, at (variance + 1) / 2 of the way. At t = 0 the term is
    the negative log-likelihood of the image's grey level, of which there are 256.

    Args:
      clean: (B, H, W, C), x_0 in [-1, 1].
      noisy: (B, H, W, C), x_t.
      noise: (B, H, W, C), the network's ε.
      variance: (B, H, W, C), the network's, unbounded.
      times: (B,), t.
      betas: (T,).

    Returns:
      (B,). Source: iDDPM eqs. 4-7, 10, 11, 15.
    """
    share = signal_share(betas)
    before = np.append(1.0, share[:-1])
    posterior = betas * (1 - before) / (1 - share)

    def at(values: np.ndarray) -> jax.Array:
        return _at(times, values, clean.dtype)

    start = jnp.clip((noisy - at(np.sqrt(1 - share)) * noise) / at(np.sqrt(share)), -1, 1)
    of_noisy = at(np.sqrt(1 - betas) * (1 - before) / (1 - share))
    of_start = at(np.sqrt(before) * betas / (1 - share))
    true_mean, mean = of_start * clean + of_noisy * noisy, of_start * start + of_noisy * noisy
    low, high = at(np.log(np.append(posterior[1], posterior[1:]))), at(np.log(betas))
    log_variance = low + (variance + 1) / 2 * (high - low)
    divergence = 0.5 * (
        log_variance - low + jnp.exp(low - log_variance) - 1 + (true_mean - mean) ** 2 * jnp.exp(-log_variance)
    )
    first = -_log_level(clean, mean, jnp.exp(0.5 * log_variance))
    return jnp.where(times[:, None, None, None] == 0, first, divergence).mean((1, 2, 3)) / np.log(2)


def _log_level(x: jax.Array, mean: jax.Array, deviation: jax.Array) -> jax.Array:
    """Log-probability of the grey level about x under a normal distribution; the outermost levels have no far end."""
    above = jax.scipy.stats.norm.cdf((x - mean + LEVEL / 2) / deviation)
    below = jax.scipy.stats.norm.cdf((x - mean - LEVEL / 2) / deviation)
    above = jnp.where(x > 1 - LEVEL / 2, 1, above)
    below = jnp.where(x < -1 + LEVEL / 2, 0, below)
    return jnp.log(jnp.maximum(above - below, 1e-12))
