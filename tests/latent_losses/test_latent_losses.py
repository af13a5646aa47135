"""The latent losses that gather: which has a gradient, what each sees, where it looks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import latent_losses
from tests import tolerances

latent_loss = jax.jit(latent_losses.latent_loss, static_argnums=0)
value_and_gradient = jax.jit(jax.value_and_grad(latent_losses.latent_loss, 1), static_argnums=0)


def noise(shape=(4, 24, 24, 2), seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def inside(shape=(4, 24, 24, 1)):
    mask = np.zeros(shape, bool)
    mask[:, 4:20, 6:] = True
    return mask


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_official_mmd_is_inert_at_image_size(shift):
    latent, target = (noise((8, 96, 96, 1), seed) for seed in (0, 1))
    value, gradient = jax.jit(jax.value_and_grad(latent_losses.mmd_official))(latent + np.float32(shift), target)
    np.testing.assert_allclose(value, 6 / 8, rtol=tolerances.COARSE)
    assert np.abs(gradient).max() < tolerances.ROUNDING_F32


def test_official_mmd_is_the_formula():
    rng = np.random.default_rng(0)
    u, v = 0.2 * rng.standard_normal((2, 5, 3)).astype(np.float32)

    def kernel(a, b):
        squares = ((a[:, None] - b[None]) ** 2).sum(-1)
        return sum(w**2 / (w**2 + squares) for w in latent_losses.MMD_WIDTHS).mean()

    expected = kernel(u, u) + kernel(v, v) - 2 * kernel(u, v)
    np.testing.assert_allclose(jax.jit(latent_losses.mmd_official)(u, v), expected, rtol=tolerances.LONG_F32)


def test_wasserstein_is_zero_for_equal_samples_and_pulls_at_image_size():
    latent, target = (noise((2, 96, 96, 1), seed) for seed in (0, 1))
    of = jax.jit(jax.value_and_grad(latent_losses.wasserstein))
    assert of(target[::-1], target)[0] == 0
    value, gradient = of(latent + 5, target)
    np.testing.assert_allclose(value, 25, rtol=0.05)
    moved = latent + 5 - 0.5 * latent.size * np.asarray(gradient)
    assert of(moved, target)[0] < tolerances.ROUNDING_F32  # a full step down the gradient is the optimal transport


MASKED = ("white", "wasserstein", "sliced_wasserstein", "mmd_patch")


@pytest.mark.parametrize("name", MASKED)
def test_latent_losses_look_at_the_mask_alone(name):
    latent, target = noise(), noise(seed=1)
    reach = 2  # of patches and of neighbours
    far = np.zeros_like(inside())
    far[:, 4 + reach : 20 - reach, 6 + reach : 24 - reach] = True
    changed = np.where(inside(), latent, np.float32(100))
    loss, _ = value_and_gradient(name, latent, target, far)
    np.testing.assert_allclose(value_and_gradient(name, changed, target, far)[0], loss, rtol=tolerances.SUM_F32)
    assert latent_loss(name, changed, target) > 2 * loss


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("change", [lambda z: 2 * z, lambda z: z + 0.7, lambda z: z**3])
def test_latent_losses_tell_a_wrong_distribution_and_pull_towards_the_prior(name, change):
    def of(latent):
        value, gradient = value_and_gradient(name, latent.astype(np.float32), noise(seed=1), inside())
        return value, np.asarray(gradient)

    wrong, gradient = of(change(noise()))
    assert wrong > 1.5 * of(noise())[0]
    assert of(change(noise()) - 1e-2 * gradient / np.abs(gradient).max())[0] < wrong


@pytest.mark.parametrize("name", ["white", "sliced_wasserstein", "mmd_patch"])
def test_losses_of_neighbourhoods_tell_smooth_noise(name):
    smooth = (noise() + np.roll(noise(), 1, 2)) / np.float32(2**0.5)  # N(0, 1) pixel by pixel
    target, mask = noise(seed=1), inside()
    assert value_and_gradient("wasserstein", smooth, target, mask)[0] < 0.05
    of_smooth, of_white = (value_and_gradient(name, latent, target, mask)[0] for latent in (smooth, noise()))
    assert of_smooth > 1.5 * of_white


def test_autocovariance_is_the_sum_over_the_lags():
    latent, mask = np.asarray(noise((2, 9, 8, 1)), np.float64), np.asarray(inside((2, 24, 24, 1)))[:, 2:11, 3:11]
    centred = np.where(mask, latent - latent[mask].mean(), 0)
    expected = 0.0
    for down in range(3):
        for right in range(-2, 3):
            if (down, right) > (0, 0):
                pairs = [
                    (b, i, j)
                    for b, i, j, _ in np.argwhere(mask)
                    if 0 <= i + down < 9 and 0 <= j + right < 8 and mask[b, i + down, j + right]
                ]
                expected += np.mean([centred[b, i, j] * centred[b, i + down, j + right] for b, i, j in pairs]) ** 2
    found = jax.jit(latent_losses.autocovariance)(latent, mask)
    np.testing.assert_allclose(found, expected, rtol=tolerances.SUM_F32)


@pytest.mark.parametrize("name", ["mmd", "characteristic"])
def test_an_unknown_name_and_one_that_needs_more_are_named(name):
    with pytest.raises(ValueError, match="must be one of"):
        latent_losses.latent_loss(name, jnp.zeros((1, 2)), jnp.zeros((1, 2)))
