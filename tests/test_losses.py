"""The losses of images: equations of the paper, both reductions; the priors."""

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


@jax.jit
def ssims_of_changed(a, b):
    """SSIM as it is, of exchanged images, of one image, of images upside down, and of transposed ones."""
    pairs = [(a, b), (b, a), (a, a), (a[:, ::-1], b[:, ::-1]), (a.swapaxes(1, 2), b.swapaxes(1, 2))]
    return [losses.ssim(*pair) for pair in pairs]


# few sizes: each is compiled anew
@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([(11, 11), (12, 23), (24, 17)]))
def test_ssim_invariants(seed, size):
    value, exchanged, same, upside_down, transposed = ssims_of_changed(*images(seed, 2, *size))
    assert value.shape == (2,) and (np.abs(value) <= 1 + tolerances.ROUND_TRIP_F32).all()
    np.testing.assert_allclose(exchanged, value, atol=tolerances.ROUND_TRIP_F32)
    np.testing.assert_allclose(same, 1, atol=tolerances.ROUND_TRIP_F32)
    np.testing.assert_allclose(upside_down, value, atol=tolerances.METRIC_F32)
    np.testing.assert_allclose(transposed, value, atol=tolerances.METRIC_F32)


jitted_ssim = jax.jit(losses.ssim)
similarity_loss = jax.jit(losses.similarity_loss, static_argnames="reduction")


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10_000), weight=st.floats(0, 1), height=st.sampled_from([11, 12, 24]))
def test_reductions_are_mean_and_sum(seed, weight, height):
    x1, x2 = map(np.asarray, images(seed, 2, height, 16))
    fused = (0.3 * x1 + 0.7 * x2).astype(np.float32)
    pairs = [(x1, fused), (x2, fused)]
    ssims = [1 - np.asarray(jitted_ssim(x, fused)) for x in (x1, x2)]
    squares = [((x - fused) ** 2).sum((1, 2, 3)) for x in (x1, x2)]
    official = 0.5 * sum(weight * s + (1 - weight) * q / (height * 16) for s, q in zip(ssims, squares, strict=True))
    paper = sum(weight * s + (1 - weight) * np.sqrt(q) for s, q in zip(ssims, squares, strict=True))
    for reduction, expected in (("official", official), ("paper", paper)):
        value = similarity_loss(pairs, weight=weight, reduction=reduction)
        np.testing.assert_allclose(value, expected, rtol=tolerances.LOSS_F32, atol=tolerances.ROUNDING_F32)


def test_fusion_and_decomposition_share_the_moments_of_the_sources(monkeypatch):
    maps = []
    blur = ssim_module.blur
    monkeypatch.setattr(ssim_module, "blur", lambda x: maps.append(x) or blur(x))
    model = FusionModel(
        init=None,
        fuse=None,
        fuse_train=lambda variables, a, b, gather: ((a + b) / 2, a - b, {}),
        decompose=lambda variables, fused, latent: (fused - latent, fused + latent),
    )
    config = defaults("losses")
    config.fusion_target = "sources"
    sources, keys = images(0), jax.random.split(jax.random.key(0), 2)

    @jax.jit
    def losses_of(slices, keys):
        return objective.loss_parts(model, {}, slices, keys, config, train=True, gather=lambda x: x)

    parts, given, _ = losses_of(objective.Slices(jnp.concatenate(sources, -1)), keys)
    assert len(maps) == 14  # two moments of five images, four products
    for part, others in ((parts.fusion, (given["fused"],) * 2), (parts.decomposition, given["decomposed"])):
        expected = similarity_loss(list(zip(sources, others, strict=True)))
        np.testing.assert_allclose(part, expected, rtol=tolerances.ROUNDING_F32)


def test_ssim_agrees_with_dm_pix():
    import dm_pix

    a, b = images(0)
    ours = jitted_ssim(a, b)
    np.testing.assert_allclose(ours, jax.jit(dm_pix.ssim)(a, b), atol=tolerances.METRIC_F32)


def test_norm_of_a_perfect_image_has_a_finite_gradient():
    a, _ = images(0)
    assert np.isfinite(jax.jit(jax.grad(lambda x: losses.l2(x, a, reduction="paper").sum()))(a)).all()


@pytest.mark.parametrize(
    "prior,mean,std", [("normal", 0, 1), ("zeros", 0, 0), ("ones", 1, 0), ("uniform", 0.5, 12**-0.5)]
)
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


@pytest.mark.parametrize(
    "call",
    [
        lambda: losses.similarity_loss([images(0)], reduction="sum"),
        lambda: losses.sample_prior("gauss", jax.random.key(0), (1,)),
    ],
)
def test_unknown_names_are_named(call):
    with pytest.raises(ValueError, match="must be one of"):
        call()


def test_the_coarse_error_sees_what_is_smooth_and_nothing_else():
    a, _ = images(0)
    checkerboard = (np.indices(a.shape[1:3]).sum(0) % 2 * 2 - 1)[None, :, :, None].astype(np.float32)
    np.testing.assert_allclose(losses.coarse_error(a, a + 0.1 * checkerboard), 0, atol=tolerances.ROUNDING_F64)
    np.testing.assert_allclose(losses.coarse_error(a, a + 0.1), 0.01, rtol=tolerances.SUM_F32)
    assert losses.coarse_error(a[:, :15, :13], a[:, :15, :13]).shape == (len(a),)
