"""Schedule, sampler and training loss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax.models import ddfm
from fusioninn_jax.models.ddfm import diffusion
from tests import tolerances
from tests.models.ddfm import goldens

BETAS = diffusion.linear_betas()


def test_ten_steps_with_the_correction_are_the_authors():
    config, variables = goldens.small_network()
    config.steps = 10
    network = ddfm.make_unet(config)
    noise = goldens.nhwc(np.random.default_rng(41).standard_normal((1, 3, 32, 32))).astype(np.float32)
    first, second = goldens.pair(40, 32, 32, np.float32)
    sampled = jax.jit(lambda v: ddfm.sample_fused(lambda x, t: network.apply(v, x, t), noise, first, second, config))(
        variables
    )
    np.testing.assert_allclose(sampled, goldens.nhwc(goldens.NUMBERS["ddfm_sample"]), atol=tolerances.SAMPLE_F32)


@pytest.mark.parametrize("kept", [2, 10, 25, 100, 1000])
def test_respacing_keeps_both_ends(kept):
    times = diffusion.respaced(1000, kept)
    assert len(set(times.tolist())) == kept and times[0] == 0 and times[-1] == 999
    if kept == 10:
        np.testing.assert_array_equal(times, goldens.NUMBERS["ddfm_timesteps"])


def test_schedule_is_ddpms():
    assert BETAS[0] == 1e-4 and BETAS[-1] == 0.02 and len(BETAS) == 1000
    share = diffusion.signal_share(BETAS)
    np.testing.assert_allclose(share[0], 1 - 1e-4)
    assert 3e-5 < share[-1] < 5e-5 and np.all(np.diff(share) < 0)
    short = diffusion.signal_share(diffusion.linear_betas(100))
    np.testing.assert_allclose(np.log(short[-1]), np.log(share[-1]), rtol=0.15)  # ends as noisy


def exact_denoiser(clean):
    """The noise that is in x_t, known from x_0."""
    share = jnp.asarray(diffusion.signal_share(BETAS), clean.dtype)

    def denoise(x, times):
        at = share[times][:, None, None, None]
        return (x - jnp.sqrt(at) * clean) / jnp.sqrt(1 - at)

    return denoise


def test_sampling_with_the_true_noise_gives_the_clean_image():
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        clean, noise = rng.uniform(-1, 1, (2, 4, 4, 1)), rng.standard_normal((2, 4, 4, 1))
        sample = jax.jit(lambda noise, steps: diffusion.sample(exact_denoiser(clean), noise, steps))
        for steps in (2, 7):
            sampled = sample(noise, diffusion.sampling_steps(BETAS, steps))
            np.testing.assert_allclose(sampled, clean, atol=tolerances.GOLDEN_F64)


def test_a_correction_sees_the_clipped_estimate_and_steers_the_result():
    seen = []

    def correct(start, state):
        jax.debug.callback(lambda low, high: seen.append((float(low), float(high))), start.min(), start.max())
        return jnp.full_like(start, 0.25), state + 1

    noise = 3 * np.random.default_rng(0).standard_normal((1, 4, 4, 1), np.float32)
    steps = diffusion.sampling_steps(BETAS, 5)
    sampled = diffusion.sample(lambda x, t: jnp.zeros_like(x), noise, steps, correct, jnp.zeros(()))
    jax.effects_barrier()
    np.testing.assert_allclose(sampled, 0.25, atol=tolerances.ROUNDING_F32)
    assert len(seen) == 5 and seen[0] == (-1, 1) and all(-1 <= low <= high <= 1 for low, high in seen)


def test_loss_is_the_error_of_the_noise_and_each_images_own():
    clean, keys = np.zeros((3, 8, 8, 1), np.float32), jax.random.split(jax.random.key(0), 3)
    blind_loss = jax.jit(lambda *of: diffusion.denoising_loss(lambda x, t: jnp.zeros_like(x), *of, BETAS))
    blind = np.asarray(blind_loss(clean, keys))
    assert blind.shape == (3,) and np.all((0.6 < blind) & (blind < 1.5))  # the noise's own mean square
    alone = blind_loss(clean[1:2], keys[1:2])
    np.testing.assert_allclose(alone[0], blind[1], rtol=tolerances.ROUNDING_F32)
    assert len(set(blind.tolist())) == 3
    with jax.enable_x64(True):
        image = np.random.default_rng(0).uniform(-1, 1, (3, 8, 8, 1))
        exact = jax.jit(lambda keys: diffusion.denoising_loss(exact_denoiser(image), image, keys, BETAS))(keys)
        np.testing.assert_allclose(exact, 0, atol=tolerances.GOLDEN_F64)


def gaussian_divergence(mean, variance, other_mean, other_variance):
    """KL between normals, integrated on a grid."""

    def density(x, m, v):
        return np.exp(-((x - m) ** 2) / (2 * v)) / np.sqrt(2 * np.pi * v)

    x = np.linspace(mean - 12 * np.sqrt(variance), mean + 12 * np.sqrt(variance), 20_001)
    p, q = density(x, mean, variance), density(x, other_mean, other_variance)
    return np.trapezoid(np.where(p > 1e-30, p * np.log(np.maximum(p, 1e-300) / np.maximum(q, 1e-300)), 0), x)


bound = jax.jit(lambda *of: diffusion.variational_bound(*of, BETAS))


def test_variational_bound_is_the_divergence_from_the_posterior():
    """By Bayes: q(x_{t-1} | x_t, x_0) ∝ q(x_t | x_{t-1}) q(x_{t-1} | x_0), against the model's step."""
    with jax.enable_x64(True):
        clean, noisy, noise, raw, t = 0.3, 0.5, 0.2, -0.4, 400
        share = diffusion.signal_share(BETAS)
        beta, before = BETAS[t], share[t - 1]

        def posterior(start):
            precision = (1 - beta) / beta + 1 / (1 - before)
            weighted = np.sqrt(1 - beta) * noisy / beta + np.sqrt(before) * start / (1 - before)
            return weighted / precision, 1 / precision

        mean, variance = posterior(clean)
        model_mean, _ = posterior((noisy - np.sqrt(1 - share[t]) * noise) / np.sqrt(share[t]))
        model_variance = beta ** ((raw + 1) / 2) * variance ** (1 - (raw + 1) / 2)
        expected = gaussian_divergence(mean, variance, model_mean, model_variance) / np.log(2)
        images = [np.full((1, 1, 1, 1), value) for value in (clean, noisy, noise, raw)]
        np.testing.assert_allclose(bound(*images, np.array([t])), expected, rtol=tolerances.ROUNDING_F32)


def test_the_last_term_is_a_distribution_over_grey_levels():
    with jax.enable_x64(True):
        levels = np.linspace(-1, 1, 256)[:, None, None, None]
        noisy, noise, raw = (np.full_like(levels, value) for value in (0.98, 0.4, 0.5))
        bits = np.asarray(bound(levels, noisy, noise, raw, np.zeros(256, int)))
        np.testing.assert_allclose(np.sum(2.0**-bits), 1, atol=tolerances.ROUNDING_F32)


def test_a_learned_variance_adds_the_bound_and_leaves_the_noise_alone():
    clean, keys = np.zeros((64, 2, 2, 1), np.float32), jax.random.split(jax.random.key(1), 64)

    def loss(noise, variance):
        def denoise(x, t):
            return jnp.broadcast_to(jnp.stack([noise, variance]), (*x.shape[:-1], 2))

        return diffusion.denoising_loss(denoise, clean, keys, BETAS).mean()

    def of_noise_alone(noise):
        return diffusion.denoising_loss(lambda x, t: jnp.full_like(x, noise), clean, keys, BETAS).mean()

    of_noise, of_variance = jax.jit(jax.grad(loss, (0, 1)))(0.1, 0.2)
    simple = jax.jit(jax.grad(of_noise_alone))(0.1)
    np.testing.assert_allclose(of_noise, simple, rtol=tolerances.SUM_F32)
    assert abs(float(of_variance)) > 1e-6
