"""What the fused image is trained towards."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import losses, models, objective
from fusioninn_jax.models import FusionModel, salient
from fusioninn_jax.objective import fusion_targets
from fusioninn_jax.settings import defaults, paper_losses
from tests import tolerances
from tests.golden import portable_inputs


def pair(batch=2, size=32):
    return jnp.asarray(portable_inputs.smooth(3, batch, size, size).transpose(0, 2, 3, 1))


def identity_pair() -> FusionModel:
    """A "system" whose fused image is the first source and whose latent is the second."""
    return FusionModel(
        init=None,
        fuse=None,
        fuse_train=lambda variables, a, b, gather: (a, b, {}),
        decompose=lambda variables, fused, latent: (fused, latent),
    )


@pytest.mark.parametrize(
    "setting,expected",
    [
        ("mean", {"mean": 1.0}),
        ("0.75*mean+0.25*max", {"mean": 0.75, "max": 0.25}),
        ("3*mean + max", {"mean": 0.75, "max": 0.25}),
        ("mean+mean", {"mean": 1.0}),
    ],
)
def test_a_blend_is_parsed_and_its_weights_sum_to_one(setting, expected):
    assert fusion_targets.parse(setting) == pytest.approx(expected)


@pytest.mark.parametrize(
    "setting,match",
    [
        ("meen", "did you mean 'mean'"),
        ("0*mean", "weight '0'"),
        ("-1*mean+max", "weight '-1'"),
        ("nan*mean", "not positive"),
        ("two*mean", "weight 'two'"),
        ("unet", "no rule is called 'unet'"),
        ("", "no rule"),
        ("mean+", "no rule"),
    ],
)
def test_a_setting_that_cannot_be_parsed_is_explained(setting, match):
    with pytest.raises(ValueError, match=match):
        fusion_targets.parse(setting)


@pytest.mark.parametrize("setting", ["mean", "max", "salient_mean", "0.5*mean+0.5*max", "laplacian_pyramid"])
def test_the_fusion_loss_is_of_the_given_picture(setting):
    stack = pair()
    sources = objective.split_sources(stack)
    config = defaults("losses")
    config.fusion_target, config.latent, config.coarse_weight = setting, "none", 3.0
    keys = jax.random.split(jax.random.key(0), 2)
    parts, _, _ = objective.loss_parts(
        identity_pair(), {}, objective.Slices(stack), keys, config, train=True, gather=lambda x: x
    )
    wanted = sum(
        weight * models.get(name).fuse({}, *sources)[0] for name, weight in fusion_targets.parse(setting).items()
    )
    np.testing.assert_allclose(
        parts.fusion,
        losses.similarity_loss([(wanted, sources[0])]) + 3 * losses.coarse_error(wanted, sources[0]),
        rtol=tolerances.SUM_F32,
        atol=tolerances.GIVEN_F32,
    )


def test_no_gradient_flows_through_the_target():
    stack = pair()

    def of(x):
        return fusion_targets.of_rule("salient_mean", objective.split_sources(x)).sum()

    assert float(jnp.abs(jax.grad(of)(stack)).max()) == 0


def test_a_system_that_cannot_decompose_keeps_the_papers_loss():
    config = defaults("losses")
    assert objective.target_setting(models.get("fusioninn"), config) == "salient_mean"
    assert objective.target_setting(models.get("unet"), config) == "sources"
    assert objective.target_setting(models.get("fusioninn"), paper_losses()) == "sources"


def test_the_salient_mean_shows_what_stands_out_in_either_source():
    rng = np.random.default_rng(0)
    x1, x2 = (np.clip(0.4 + 0.03 * rng.standard_normal((1, 64, 64, 1)), 0.01, 1).astype(np.float32) for _ in range(2))
    x1[:, 10:20, 10:20] += 0.3
    x2[:, 40:50, 40:50] += 0.3
    x1[:, :, -4:] = x2[:, :, -4:] = 0
    fused, mean = (
        np.asarray(rule(jnp.asarray(x1), jnp.asarray(x2))) for rule in (salient.salient_mean, models.classical.mean)
    )
    for lesion in (np.s_[:, 12:18, 12:18], np.s_[:, 42:48, 42:48]):
        assert (fused - mean)[lesion].mean() > 0.05
    assert np.abs(fused - mean)[:, 26:34, 26:34].max() < 0.02
    assert (fused >= mean - 1e-6).all() and fused.max() <= 1 and (fused[:, :, -4:] == 0).all()


def test_more_sources_and_their_order():
    a, b, c = (pair(1, 24)[..., :1] ** power for power in (1.0, 2.0, 0.5))
    fused = salient.salient_mean(a, b, c)
    assert fused.shape == a.shape
    np.testing.assert_allclose(salient.salient_mean(c, a, b), fused, atol=tolerances.ROUNDING_F32)
    np.testing.assert_allclose(salient.salient_mean(a, jnp.zeros_like(a))[a == 0], 0)
