"""Means of quality maps and local statistics, against NumPy in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import ssim
from fusioninn_jax.metrics import _maps
from tests import tolerances
from tests.metrics.pictures import disc, picture

SHAPE = (2, 24, 27, 1)


def test_local_mean_and_variance_are_numpys():
    x = 255 * picture(1, SHAPE).astype(float)
    taps = ssim.GAUSSIAN / ssim.GAUSSIAN.sum()
    windows = np.lib.stride_tricks.sliding_window_view(x[..., 0], (ssim.WINDOW, ssim.WINDOW), (1, 2))
    mean = np.einsum("bhwij,i,j->bhw", windows, taps, taps)
    variance = np.einsum("bhwij,i,j->bhw", (windows - mean[..., None, None]) ** 2, taps, taps)
    with jax.enable_x64(True):
        found = _maps.local_mean_variance(jnp.asarray(x))
    for ours, expected in zip(found, (mean, variance), strict=True):
        np.testing.assert_allclose(ours[..., 0], expected, rtol=tolerances.SUM_F64)


def test_a_bright_flat_image_has_no_variance_in_float32():
    mean, variance = _maps.local_mean_variance(jnp.full(SHAPE, 255.0))
    np.testing.assert_allclose(mean, 255, rtol=tolerances.ROUNDING_F32)
    np.testing.assert_allclose(variance, 0, atol=tolerances.ROUNDING_F32)


@pytest.mark.parametrize("border", [0, 3])
def test_map_mean_counts_what_the_mask_has(border):
    values = picture(1, (SHAPE[0], SHAPE[1] - 2 * border, SHAPE[2] - 2 * border, 1))
    mask = disc(SHAPE)
    inside = np.asarray(mask)[:, border : SHAPE[1] - border, border : SHAPE[2] - border]
    expected = [image[own].mean() for image, own in zip(values, inside, strict=True)]
    np.testing.assert_allclose(_maps.map_mean(values, jnp.asarray(mask), border), expected, rtol=tolerances.SUM_F32)
    np.testing.assert_allclose(_maps.map_mean(values, None, border), values.mean((1, 2, 3)), rtol=tolerances.SUM_F32)
    np.testing.assert_array_equal(_maps.map_mean(values, jnp.zeros(SHAPE, bool), border), np.zeros(2))


def test_the_central_cut_is_of_the_whole_image():
    rows = np.broadcast_to(np.arange(24.0)[None, :, None, None], SHAPE)
    for border in (0, 4):
        values = rows[:, border : 24 - border, border : 27 - border]
        np.testing.assert_array_equal(_maps.central_cut(values, 2, border)[0, :, 0, 0], np.arange(10, 15))
    with pytest.raises(ValueError, match="the central 11x11 pixels need images of at least 19x19"):
        _maps.central_cut(np.zeros((1, 10, 12, 1)), 5, 4)
