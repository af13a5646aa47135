"""VIFp against a NumPy / SciPy version written from the formula, and its limits."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from jax.test_util import check_grads
from scipy import signal

from fusioninn_jax.metrics.vif import MIN_SIZE, vif
from tests import tolerances
from tests.metrics.pictures import disc, grey_levels, picture, scenes, triple
from tests.tolerances import METRIC_F32

SHAPE = (2, 64, 59, 1)


def gaussian(width):
    offsets = np.arange(width) - width // 2
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * (width / 5) ** 2))
    return window / window.sum()


def vifp_reference(reference, image, inside=None):
    """One (H, W) pair of 0..255; `inside` selects the pixels of the image grid whose windows count."""
    kept = there = 0.0
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    for scale in range(1, 5):
        width = 2 ** (5 - scale) + 1
        half, window = width // 2, gaussian(width)
        if scale > 1:
            reference, image = (signal.convolve2d(x, window, "valid")[::2, ::2] for x in (reference, image))
            rows, columns = (x[half:-half, half:-half][::2, ::2] for x in (rows, columns))
        mean_r, mean_i = (signal.convolve2d(x, window, "valid") for x in (reference, image))
        var_r = np.maximum(signal.convolve2d(reference**2, window, "valid") - mean_r**2, 0)
        var_i = np.maximum(signal.convolve2d(image**2, window, "valid") - mean_i**2, 0)
        covariance = signal.convolve2d(reference * image, window, "valid") - mean_r * mean_i
        gain = covariance / (var_r + 1e-10)
        noise = var_i - gain * covariance
        flat = var_r < 1e-10
        gain[flat], noise[flat], var_r[flat] = 0, var_i[flat], 0
        gain[var_i < 1e-10], noise[var_i < 1e-10] = 0, 0
        noise[gain < 0], gain[gain < 0] = var_i[gain < 0], 0
        noise = np.maximum(noise, 1e-10)
        weight = 1.0 if inside is None else inside[rows, columns][half:-half, half:-half]
        kept += np.sum(weight * np.log10(1 + gain**2 * var_r / (noise + 2)))
        there += np.sum(weight * np.log10(1 + var_r / 2))
    return kept / there


@pytest.mark.parametrize("masked", [False, True])
def test_against_scipy(masked):
    batch = triple(SHAPE)
    mask = disc(SHAPE) if masked else None
    score = vif(*batch, mask=mask)
    a, b, y = (grey_levels(x)[..., 0] for x in batch)
    for i in range(SHAPE[0]):
        inside = mask[i, ..., 0] if masked else None
        expected = vifp_reference(a[i], y[i], inside) + vifp_reference(b[i], y[i], inside)
        np.testing.assert_allclose(score[i], expected, rtol=METRIC_F32)


def test_float32_agrees_with_float64():
    batch = triple(SHAPE)
    single = vif(*batch)
    with jax.enable_x64(True):
        double = vif(*(x.astype(np.float64) for x in batch))
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=METRIC_F32)


def test_gradient_against_finite_differences():
    with jax.enable_x64(True):
        shape = (1, MIN_SIZE, MIN_SIZE, 1)
        x1, x2 = (picture(seed, shape).astype(np.float64) for seed in (1, 2))
        fused = 0.02 + 0.5 * x1 + 0.4 * x2 + 0.05 * np.random.default_rng(0).random(shape)
        check_grads(
            lambda y: vif(x1, x2, y, quantize=False),
            (fused,),
            order=1,
            modes=["rev"],
            atol=tolerances.COARSE,
            rtol=tolerances.COARSE,
        )


def test_gradient_is_finite_on_flat_images():
    x1, x2, _ = triple(SHAPE)
    flat = np.full(SHAPE, 0.5, np.float32)
    assert np.isfinite(jax.grad(lambda y: vif(x1, x2, y, quantize=False).sum())(flat)).all()
    assert np.isfinite(jax.grad(lambda y: vif(flat, x2, y, quantize=False).sum())(flat)).all()


def test_constant_images_have_defined_values():
    x1, x2, _ = triple(SHAPE)
    black = np.zeros(SHAPE, np.float32)
    np.testing.assert_array_equal(vif(x1, x2, black), 0)
    np.testing.assert_allclose(vif(black, x2, x2), 2, rtol=METRIC_F32)
    np.testing.assert_array_equal(vif(x1, x2, x1, mask=black), 2)


def test_contrast_is_rewarded_and_noise_is_not():
    x1 = 0.5 * picture(1, SHAPE)
    noise = 0.1 * np.random.default_rng(0).random(SHAPE, np.float32)
    copied, stretched, noisy = vif(x1, x1, x1), vif(x1, x1, 1.8 * x1), vif(x1, x1, x1 + noise)
    assert (stretched > copied).all() and (noisy < copied).all()
    np.testing.assert_allclose(copied, 2, rtol=METRIC_F32)


def test_too_small_images_are_refused():
    small = picture(1, (1, MIN_SIZE - 1, 64, 1))
    with pytest.raises(ValueError, match="smaller"):
        vif(small, small, small)


@settings(max_examples=20, deadline=None)
@given(scenes((1, MIN_SIZE, MIN_SIZE, 1)), scenes((1, MIN_SIZE, MIN_SIZE, 1)), scenes((1, MIN_SIZE, MIN_SIZE, 1)))
def test_range_symmetry_and_identity(x1, x2, fused):
    score = vif(x1, x2, fused)[0]
    assert 0 <= score < np.inf
    np.testing.assert_allclose(score, vif(x2, x1, fused)[0], rtol=METRIC_F32)
    np.testing.assert_allclose(vif(fused, fused, fused)[0], 2, rtol=METRIC_F32)
