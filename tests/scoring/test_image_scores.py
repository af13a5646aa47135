"""What evaluation adds up: storage, scores by name, moments of the latent, the table."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from fusioninn_jax import metrics, storage
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.scoring import image_scores
from tests import tolerances
from tests.golden import portable_inputs


@pytest.fixture(name="sources")
def sources_fixture():
    pairs = portable_inputs.smooth(0, 2, 48, 48).transpose(0, 2, 3, 1)
    pairs[:, :6] = 0  # blank rows stand for the background
    return jnp.asarray(pairs[..., :1]), jnp.asarray(pairs[..., 1:])


def test_storage_rounds_to_the_nearest_level_and_clips():
    fused = jnp.array([-0.1, 0.0, 0.5, 0.7501, 1.2])
    np.testing.assert_allclose(255 * storage.store(fused, 8), [0, 0, 128, 191, 255], rtol=tolerances.ROUNDING_F32)
    np.testing.assert_array_equal(storage.store(fused, 0), fused)
    assert float(jnp.abs(storage.store(fused[1:4], 16) - fused[1:4]).max()) <= 0.5 / 65535 + tolerances.GIVEN_F32


def test_fusion_scores_are_the_metrics_over_slice_and_brain(sources):
    fused = (sources[0] + sources[1]) / 2
    scores = image_scores.fusion_scores(sources, fused, image_scores.METRIC_SETS["table1"])
    brain = brain_mask(sources)
    assert not bool(brain[:, :6].any()) and bool(brain[:, 6:].all())
    np.testing.assert_allclose(
        scores["q_p_brain"], metrics.q_p(*sources, fused, mask=brain), rtol=tolerances.ROUNDING_F32
    )
    np.testing.assert_allclose(
        scores["q_xy_fusioninn"], metrics.q_xy(*sources, fused, variant="fusioninn"), rtol=tolerances.ROUNDING_F32
    )
    np.testing.assert_allclose(
        (scores["ssim_fused_1"] + scores["ssim_fused_2"]) / 2, scores["q_ssim"], rtol=tolerances.SUM_F32
    )
    np.testing.assert_array_equal(
        scores["fairness_brain"], jnp.minimum(scores["ssim_fused_1_brain"], scores["ssim_fused_2_brain"])
    )
    np.testing.assert_allclose(scores["fairness"], metrics.fairness(*sources, fused), rtol=tolerances.ROUNDING_F32)
    assert "q_xy_fusioninn_brain" not in scores and "q_fmi_brain" in scores


def test_latent_moments_are_those_of_all_pixels_together():
    rng = np.random.default_rng(0)
    latent = (40 + 3 * rng.gamma(2.0, size=(6, 12, 14, 1))).astype(np.float32)
    inside = rng.random((6, 12, 14, 1)) < 0.8
    moments = image_scores.LatentMoments()
    moments.add(latent[:4], inside[:4])
    moments.add(latent[4:], inside[4:])
    found, values = moments.summary(), latent[inside].astype(float)
    expected = {
        "mean": values.mean(),
        "std": values.std(),
        "skewness": scipy.stats.skew(values),
        "excess_kurtosis": scipy.stats.kurtosis(values),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerances.SUM_F32, err_msg=name)
    assert abs(found["autocorrelation"]) < 0.08  # independent pixels


def test_autocorrelation_is_that_of_neighbours_inside():
    rows, columns = [], []
    rng = np.random.default_rng(1)
    smooth = portable_inputs.smooth(3, 2, 20, 20)[:, :1].transpose(0, 2, 3, 1)
    inside = rng.random(smooth.shape) < 0.7
    for axis in (1, 2):
        both = np.take(inside, range(19), axis) & np.take(inside, range(1, 20), axis)
        rows.append(np.take(smooth, range(19), axis)[both])
        columns.append(np.take(smooth, range(1, 20), axis)[both])
    moments = image_scores.LatentMoments()
    moments.add(smooth, inside)
    expected = np.corrcoef(np.concatenate(rows), np.concatenate(columns))[0, 1]
    np.testing.assert_allclose(moments.summary()["autocorrelation"], expected, rtol=tolerances.ROUNDING_F32)


def test_moments_of_nothing_and_of_a_constant():
    moments = image_scores.LatentMoments()
    assert moments.summary() == {}
    moments.add(np.full((1, 4, 4, 1), 0.1, np.float32), np.ones((1, 4, 4, 1), bool))
    summary = moments.summary()
    assert summary["mean"] == pytest.approx(0.1) and summary["skewness"] == summary["autocorrelation"] == 0
