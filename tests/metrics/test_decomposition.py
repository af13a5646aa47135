"""The decomposition metrics against NumPy and the shared SSIM, and their limits."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from jax.test_util import check_grads

from fusioninn_jax import ssim
from fusioninn_jax.metrics.decomposition import decomposition_mae, decomposition_psnr, decomposition_ssim
from fusioninn_jax.metrics.fidelity import PSNR_LIMIT
from tests import tolerances
from tests.metrics.pictures import SHAPE, disc, images, picture
from tests.tolerances import METRIC_F32, METRIC_F64

METRICS = [decomposition_ssim, decomposition_psnr, decomposition_mae]


def pair():
    source = picture(1)
    noise = np.random.default_rng(0).normal(size=SHAPE)
    return source, np.clip(source + 0.05 * noise * disc(), 0, 1).astype(np.float32)


@pytest.mark.parametrize("masked", [False, True])
def test_against_numpy(masked):
    source, decomposed = pair()
    mask = disc() if masked else None
    for i in range(SHAPE[0]):
        inside = disc()[i] if masked else np.ones(SHAPE[1:], bool)
        error = (source[i].astype(np.float64) - decomposed[i])[inside]
        np.testing.assert_allclose(
            decomposition_mae(source, decomposed, mask=mask)[i], np.abs(error).mean(), rtol=METRIC_F32
        )
        np.testing.assert_allclose(
            decomposition_psnr(source, decomposed, mask=mask)[i], -10 * np.log10(np.mean(error**2)), rtol=METRIC_F32
        )
        similarity = np.asarray(ssim.ssim_map(source, decomposed), np.float64)[i]
        cut = inside[5:-5, 5:-5]
        np.testing.assert_allclose(
            decomposition_ssim(source, decomposed, mask=mask)[i], similarity[cut].mean(), rtol=METRIC_F32
        )


def test_background_flatters_every_metric():
    source, decomposed = pair()
    mask = disc()
    assert (decomposition_ssim(source, decomposed) > decomposition_ssim(source, decomposed, mask=mask)).all()
    assert (decomposition_psnr(source, decomposed) > decomposition_psnr(source, decomposed, mask=mask)).all()
    assert (decomposition_mae(source, decomposed) < decomposition_mae(source, decomposed, mask=mask)).all()


def test_float32_agrees_with_float64():
    single = [metric(*pair()) for metric in METRICS]
    with jax.enable_x64(True):
        double = [metric(*(x.astype(np.float64) for x in pair())) for metric in METRICS]
    assert all(score.dtype == np.float64 for score in double)
    np.testing.assert_allclose(single, double, rtol=METRIC_F32)


@pytest.mark.parametrize("metric", METRICS, ids=lambda f: f.__name__)
def test_gradient(metric):
    with jax.enable_x64(True):
        source, decomposed = (picture(seed, (1, 12, 13, 1)).astype(np.float64) for seed in (1, 2))
        decomposed = 0.05 + 0.85 * decomposed  # finite differences stay in [0, 1]
        check_grads(
            lambda d: metric(source, d),
            (decomposed,),
            order=1,
            modes=["rev"],
            atol=tolerances.COARSE,
            rtol=tolerances.COARSE,
        )
    assert np.isfinite(jax.grad(lambda d: metric(pair()[0], d).sum())(pair()[0])).all()


def test_identity_and_empty_masks():
    source, decomposed = pair()
    blank = np.zeros(SHAPE, np.float32)
    for image in (source, blank):
        np.testing.assert_allclose(decomposition_ssim(image, image), 1, rtol=METRIC_F32)
        np.testing.assert_allclose(decomposition_psnr(image, image), PSNR_LIMIT, rtol=METRIC_F64)
        np.testing.assert_array_equal(decomposition_mae(image, image), 0)
    np.testing.assert_array_equal(decomposition_ssim(source, decomposed, mask=blank), 0)
    np.testing.assert_allclose(decomposition_psnr(source, decomposed, mask=blank), PSNR_LIMIT, rtol=METRIC_F64)
    np.testing.assert_array_equal(decomposition_mae(source, decomposed, mask=blank), 0)


@settings(max_examples=25, deadline=None)
@given(images(), images())
def test_ranges_and_symmetry(source, decomposed):
    for metric, low, high in zip(METRICS, (-1, 0, 0), (1, PSNR_LIMIT, 1), strict=True):
        score = metric(source, decomposed)[0]
        assert low - METRIC_F32 <= score <= high + METRIC_F32
        np.testing.assert_allclose(score, metric(decomposed, source)[0], rtol=METRIC_F32, atol=METRIC_F64)
