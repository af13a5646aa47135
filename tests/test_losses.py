"""The losses: equations of the paper, both reductions, and which latent loss has a gradient."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusioninn_jax import losses, objective
from fusioninn_jax import ssim as ssim_module
from fusioninn_jax.models import FusionModel
from fusioninn_jax.settings import defaults
from tests import tolerances
from tests.golden import portable_inputs


def images(seed, batch=2, height=16, width=20):
    pair = portable_inputs.smooth(seed, batch, height, width).transpose(0, 2, 3, 1)
    return jnp.asarray(pair[..., :1]), jnp.asarray(pair[..., 1:])


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), height=st.integers(11, 24), width=st.integers(11, 24))
def test_ssim_invariants(seed, height, width):
    a, b = images(seed, 2, height, width)
    value = losses.ssim(a, b)
    assert value.shape == (2,) and (jnp.abs(value) <= 1 + tolerances.ROUND_TRIP_F32).all()
    np.testing.assert_allclose(losses.ssim(b, a), value, atol=tolerances.ROUND_TRIP_F32)
    np.testing.assert_allclose(losses.ssim(a, a), 1, atol=tolerances.ROUND_TRIP_F32)
    np.testing.assert_allclose(losses.ssim(a[:, ::-1], b[:, ::-1]), value, atol=tolerances.METRIC_F32)
    np.testing.assert_allclose(losses.ssim(a.swapaxes(1, 2), b.swapaxes(1, 2)), value, atol=tolerances.METRIC_F32)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), weight=st.floats(0, 1), height=st.integers(11, 24))
def test_reductions_are_mean_and_sum(seed, weight, height):
    x1, x2 = images(seed, 2, height, 16)
    fused = 0.3 * x1 + 0.7 * x2
    pairs = [(x1, fused), (x2, fused)]
    ssims = [1 - losses.ssim(x, fused) for x in (x1, x2)]
    squares = [np.asarray(((x - fused) ** 2).sum((1, 2, 3))) for x in (x1, x2)]
    official = 0.5 * sum(weight * s + (1 - weight) * q / (height * 16) for s, q in zip(ssims, squares, strict=True))
    paper = sum(weight * s + (1 - weight) * np.sqrt(q) for s, q in zip(ssims, squares, strict=True))
    for reduction, expected in (("official", official), ("paper", paper)):
        value = losses.similarity_loss(pairs, weight=weight, reduction=reduction)
        np.testing.assert_allclose(value, expected, rtol=tolerances.LOSS_F32, atol=1e-6)


def test_fusion_and_decomposition_share_the_moments_of_the_sources(monkeypatch):
    maps = []
    blur = ssim_module.blur
    monkeypatch.setattr(ssim_module, "blur", lambda x: maps.append(x) or blur(x))
    model = FusionModel(init=None, fuse=None, fuse_train=lambda variables, a, b, gather: ((a + b) / 2, a - b, {}),
                        decompose=lambda variables, fused, latent: (fused - latent, fused + latent))
    config = defaults("losses")
    sources, keys = images(0), jax.random.split(jax.random.key(0), 2)
    parts, given, _ = objective.loss_parts(model, {}, sources, keys, config, train=True, gather=lambda x: x)
    assert len(maps) == 14  # two moments of five images, four products
    for part, others in ((parts.fusion, (given["fused"],) * 2), (parts.decomposition, given["decomposed"])):
        expected = losses.similarity_loss(list(zip(sources, others, strict=True)))
        np.testing.assert_allclose(part, expected, rtol=1e-6)


def test_ssim_agrees_with_dm_pix():
    import dm_pix
    a, b = images(0)
    ours = losses.ssim(a, b)
    np.testing.assert_allclose(ours, dm_pix.ssim(a, b), atol=tolerances.METRIC_F32)


def test_norm_of_a_perfect_image_has_a_finite_gradient():
    a, _ = images(0)
    assert np.isfinite(jax.grad(lambda x: losses.l2(x, a, reduction="paper").sum())(a)).all()


@pytest.mark.parametrize("shift", [0.0, 5.0])
def test_official_mmd_is_inert_at_image_size(shift):
    keys = jax.random.split(jax.random.key(0), 2)
    latent, target = (jax.random.normal(key, (8, 96, 96, 1)) for key in keys)
    value, gradient = jax.value_and_grad(losses.mmd_official)(latent + shift, target)
    np.testing.assert_allclose(value, 6 / 8, rtol=1e-3)
    assert jnp.abs(gradient).max() < 1e-6


def test_official_mmd_is_the_formula():
    rng = np.random.default_rng(0)
    u, v = 0.2 * rng.standard_normal((2, 5, 3)).astype(np.float32)
    def kernel(a, b):
        squares = ((a[:, None] - b[None]) ** 2).sum(-1)
        return sum(w**2 / (w**2 + squares) for w in losses.MMD_WIDTHS).mean()
    np.testing.assert_allclose(losses.mmd_official(u, v), kernel(u, u) + kernel(v, v) - 2 * kernel(u, v), rtol=1e-4)


def test_wasserstein_is_zero_for_equal_samples_and_pulls_at_image_size():
    keys = jax.random.split(jax.random.key(0), 2)
    latent, target = (jax.random.normal(key, (2, 96, 96, 1)) for key in keys)
    assert losses.wasserstein(target[::-1], target) == 0
    np.testing.assert_allclose(losses.wasserstein(latent + 5, target), 25, rtol=0.05)
    moved = latent + 5 - 0.5 * latent.size * jax.grad(losses.wasserstein)(latent + 5, target)
    assert losses.wasserstein(moved, target) < 1e-6  # a full step down the gradient is the optimal transport


@pytest.mark.parametrize("prior,mean,std", [("normal", 0, 1), ("zeros", 0, 0), ("ones", 1, 0),
                                            ("uniform", 0.5, 12**-0.5)])
def test_priors(prior, mean, std):
    draws = losses.sample_prior(prior, jax.random.key(0), (64, 64, 4))
    np.testing.assert_allclose(draws.mean(), mean, atol=0.02)
    np.testing.assert_allclose(draws.std(), std, atol=0.02)


def test_total_loss_is_equation_5():
    parts = losses.LossParts(jnp.array([1.0, 2.0]), jnp.array([3.0, 4.0]), jnp.array(0.5))
    np.testing.assert_allclose(losses.total_loss(parts, alpha=0.2), 0.2 * np.array([1.5, 2.5]) + 0.8 * np.array([3, 4]))
    more = parts._replace(background=jnp.array([0.25, 0.0]))
    np.testing.assert_allclose(losses.total_loss(more, background_weight=4.0) - losses.total_loss(parts), [1, 0])


def test_background_excess_counts_what_a_file_would_keep_of_the_background_alone():
    fused = jnp.full((2, 4, 5, 1), -0.01).at[0, 0, 0].set(0.5).at[0, 1:].set(0.7)
    background = jnp.zeros((2, 4, 5, 1), bool).at[:, 0].set(True)
    np.testing.assert_allclose(losses.background_excess(fused, background), [(0.5 - losses.BLACK) / 20, 0])
    gradient = jax.grad(lambda fused: losses.background_excess(fused, background).sum())(fused)
    assert np.count_nonzero(gradient) == 1 and gradient[0, 0, 0] > 0


@pytest.mark.parametrize("call", [
    lambda: losses.similarity_loss([images(0)], reduction="sum"),
    lambda: losses.latent_loss("mmd", jnp.zeros((1, 2)), jnp.zeros((1, 2))),
    lambda: losses.sample_prior("gauss", jax.random.key(0), (1,)),
])
def test_unknown_names_are_named(call):
    with pytest.raises(ValueError, match="must be one of"):
        call()


def noise(shape=(4, 24, 24, 2), seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def inside(shape=(4, 24, 24, 1)):
    return jnp.zeros(shape, bool).at[:, 4:20, 6:].set(True)


MASKED = ("white", "wasserstein", "sliced_wasserstein", "mmd_patch")


@pytest.mark.parametrize("name", MASKED)
def test_latent_losses_look_at_the_mask_alone(name):
    latent, target = noise(), noise(seed=1)
    reach = 2  # of patches and of neighbours
    far = jnp.zeros_like(inside()).at[:, 4 + reach:20 - reach, 6 + reach:24 - reach].set(True)
    changed = jnp.where(inside(), latent, 100.0)
    loss = losses.latent_loss(name, latent, target, far)
    np.testing.assert_allclose(losses.latent_loss(name, changed, target, far), loss, rtol=1e-5)
    assert losses.latent_loss(name, changed, target) > 2 * loss


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("change", [lambda z: 2 * z, lambda z: z + 0.7, lambda z: z**3])
def test_latent_losses_tell_a_wrong_distribution_and_pull_towards_the_prior(name, change):
    def loss(latent):
        return losses.latent_loss(name, latent, noise(seed=1), inside())
    wrong, gradient = jax.value_and_grad(loss)(change(noise()))
    assert wrong > 1.5 * loss(noise())
    assert loss(change(noise()) - 1e-2 * gradient / jnp.abs(gradient).max()) < wrong


@pytest.mark.parametrize("name", ["white", "sliced_wasserstein", "mmd_patch"])
def test_losses_of_neighbourhoods_tell_smooth_noise(name):
    smooth = (noise() + jnp.roll(noise(), 1, 2)) / jnp.sqrt(2)  # N(0, 1) pixel by pixel
    target, mask = noise(seed=1), inside()
    assert losses.wasserstein(smooth, target, mask) < 0.05
    assert losses.latent_loss(name, smooth, target, mask) > 1.5 * losses.latent_loss(name, noise(), target, mask)


def test_autocovariance_is_the_sum_over_the_lags():
    latent, mask = np.asarray(noise((2, 9, 8, 1)), np.float64), np.asarray(inside((2, 24, 24, 1)))[:, 2:11, 3:11]
    centred = np.where(mask, latent - latent[mask].mean(), 0)
    expected = 0.0
    for down in range(3):
        for right in range(-2, 3):
            if (down, right) > (0, 0):
                pairs = [(b, i, j) for b, i, j, _ in np.argwhere(mask) if 0 <= i + down < 9 and 0 <= j + right < 8
                         and mask[b, i + down, j + right]]
                expected += np.mean([centred[b, i, j] * centred[b, i + down, j + right] for b, i, j in pairs]) ** 2
    np.testing.assert_allclose(losses.autocovariance(jnp.asarray(latent), jnp.asarray(mask)), expected, rtol=1e-5)
