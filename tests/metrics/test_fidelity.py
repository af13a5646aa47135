"""MSE, PSNR and the SSIM sum against NumPy, dm-pix's definitions and their limits."""

import dm_pix
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from jax.test_util import check_grads

from fusioninn_jax import ssim
from fusioninn_jax.metrics.fidelity import PSNR_LIMIT, mse, psnr, ssim_sum
from tests import tolerances
from tests.metrics.pictures import SHAPE, disc, grey_levels, images, picture, triple
from tests.tolerances import METRIC_F32, METRIC_F64

SSIM_F32 = 1e-3  # dm-pix clips variances


@pytest.mark.parametrize("masked", [False, True])
def test_error_against_numpy(masked):
    x1, x2, fused = triple()
    mask = disc() if masked else None
    a, b, y = (grey_levels(x) / 255 for x in (x1, x2, fused))
    for i in range(SHAPE[0]):
        inside = disc()[i] if masked else np.ones(SHAPE[1:], bool)
        expected = (np.mean((a[i] - y[i])[inside] ** 2) + np.mean((b[i] - y[i])[inside] ** 2)) / 2
        np.testing.assert_allclose(mse(x1, x2, fused, mask=mask)[i], expected, rtol=METRIC_F32)
        np.testing.assert_allclose(psnr(x1, x2, fused, mask=mask)[i], 10 * np.log10(1 / expected), rtol=METRIC_F32)


def test_ssim_sum_against_dm_pix_and_the_mask_is_aligned():
    x1, x2, fused = triple()
    options = {"filter_size": 11, "filter_sigma": 1.5, "k1": 0.01, "k2": 0.03}
    expected = dm_pix.ssim(x1, fused, **options) + dm_pix.ssim(x2, fused, **options)
    np.testing.assert_allclose(ssim_sum(x1, x2, fused), expected, rtol=SSIM_F32)
    one_pixel = np.zeros(SHAPE, bool)
    one_pixel[:, 20, 30] = True
    value = (ssim.ssim_map(x1, fused) + ssim.ssim_map(x2, fused))[:, 15, 25, 0]
    np.testing.assert_allclose(ssim_sum(x1, x2, fused, mask=one_pixel), value, rtol=METRIC_F32)


def test_float32_agrees_with_float64():
    batch = triple()
    single = [metric(*batch) for metric in (mse, psnr, ssim_sum)]
    with jax.enable_x64(True):
        double = [metric(*(x.astype(np.float64) for x in batch)) for metric in (mse, psnr, ssim_sum)]
    assert all(score.dtype == np.float64 for score in double)
    np.testing.assert_allclose(single, double, rtol=METRIC_F32)


def test_gradients():
    with jax.enable_x64(True):
        x1, x2, fused = (picture(seed, (1, 12, 13, 1)).astype(np.float64) for seed in (1, 2, 3))
        fused = 0.05 + 0.9 * fused  # finite differences stay in [0, 1]
        for metric in (mse, psnr):
            check_grads(
                lambda y, f=metric: f(x1, x2, y, quantize=False),
                (fused,),
                order=1,
                modes=["rev"],
                atol=METRIC_F32,
                rtol=METRIC_F32,
            )
        check_grads(
            lambda y: ssim_sum(x1, x2, y),
            (fused,),
            order=1,
            modes=["rev"],
            atol=tolerances.COARSE,
            rtol=tolerances.COARSE,
        )
    assert np.isfinite(jax.grad(lambda y: psnr(y, y, y, quantize=False).sum())(triple()[0])).all()


def test_known_values_and_the_decibel_limit():
    black, grey = np.zeros(SHAPE, np.float32), np.full(SHAPE, 51 / 255, np.float32)
    np.testing.assert_allclose(mse(black, grey, grey), 0.02, rtol=METRIC_F32)
    np.testing.assert_allclose(psnr(black, black, grey), -20 * np.log10(0.2), rtol=METRIC_F32)
    np.testing.assert_allclose(psnr(grey, grey, grey), PSNR_LIMIT, rtol=METRIC_F64)
    np.testing.assert_array_equal(mse(black, black, grey, mask=black), 0)
    np.testing.assert_allclose(ssim_sum(black, black, black), 2, rtol=METRIC_F32)


def test_quantize_rounds_to_grey_levels():
    x1, x2, fused = triple()
    shifted = np.clip(fused, 0, 1) * np.float32(1 - 1e-6)
    np.testing.assert_allclose(mse(x1, x2, fused), mse(x1, x2, shifted), rtol=tolerances.COARSE)
    rounded = [np.float32(grey_levels(x) / 255) for x in (x1, x2, fused)]
    np.testing.assert_allclose(mse(x1, x2, fused), mse(*rounded, quantize=False), rtol=METRIC_F32)
    assert (np.abs(mse(x1, x2, fused) - mse(x1, x2, fused, quantize=False)) > 0).all()


@settings(max_examples=25, deadline=None)
@given(images(), images(), images())
def test_ranges_symmetry_and_identity(x1, x2, fused):
    for metric, low, high in ((mse, 0, 1), (psnr, 0, PSNR_LIMIT), (ssim_sum, -2, 2)):
        score = metric(x1, x2, fused)[0]
        assert low - METRIC_F32 <= score <= high + METRIC_F32
        np.testing.assert_allclose(score, metric(x2, x1, fused)[0], rtol=METRIC_F32, atol=METRIC_F64)
    np.testing.assert_allclose(ssim_sum(fused, fused, fused)[0], 2, rtol=METRIC_F32)
    assert mse(x1, x2, (x1 + x2) / 2, quantize=False)[0] <= mse(x1, x2, fused, quantize=False)[0] + METRIC_F64
