"""The matrices of the separable filters: against convolutions, PyTorch and PyWavelets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from fusioninn_jax.models import resampling
from tests import tolerances
from tests.golden import layers

# The example of PyWavelets' documentation: dwt(SIGNAL, 'db2', mode='periodization').
SIGNAL = [1, 2, 1, 5, -1, 8, 4, 6]
APPROXIMATION = [4.053172, 3.05257099, 2.85381112, 8.42522221]
DETAIL = [0.18946869, 4.18258152, 4.33737503, 2.60428326]


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("factor", layers.FACTORS)
def test_upsampling_is_pytorch_s(factor, align_corners):
    golden = np.load(layers.FILE)
    for size in layers.SIZES:
        upsample = functools.partial(resampling.upsample, factor=factor, align_corners=align_corners)
        ours = jax.jit(upsample)(layers.image(size))
        expected = golden[layers.upsampled_name(factor, align_corners, size)]
        np.testing.assert_allclose(ours, expected, atol=tolerances.ROUND_TRIP_F32)


def test_pyramid_reduces_and_expands_as_the_convolution_does():
    for size in (8, 9):
        signal = np.random.default_rng(size).random(size)
        blurred = ndimage.correlate1d(signal, resampling.BURT_ADELSON, mode="mirror")
        np.testing.assert_allclose(resampling.reduce_matrix(size) @ signal, blurred[::2], atol=tolerances.ROUNDING_F64)
        coarse, zeros = blurred[::2], np.zeros(size)
        zeros[::2] = coarse
        expanded = ndimage.correlate1d(zeros, 2 * np.array(resampling.BURT_ADELSON), mode="mirror")
        np.testing.assert_allclose(resampling.expand_matrix(size) @ coarse, expanded, atol=tolerances.ROUNDING_F64)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from(list(resampling.DAUBECHIES)), st.integers(1, 20))
def test_wavelet_matrix_is_orthogonal(name, half):
    matrix = resampling.dwt_matrix(2 * half, name)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(2 * half), atol=tolerances.ROUND_TRIP_F64)
    np.testing.assert_allclose(matrix[half:].sum(1), 0, atol=tolerances.ROUND_TRIP_F64)  # a constant has no detail


def test_db2_detail_of_a_straight_line_is_zero():
    detail = resampling.dwt_matrix(16, "db2")[8:] @ np.arange(16.0)
    np.testing.assert_allclose(
        detail[1:-1], 0, atol=tolerances.ROUND_TRIP_F64
    )  # two vanishing moments; the ends wrap around


def test_wavelet_transform_is_that_of_pywavelets_documentation():
    coefficients = resampling.dwt_matrix(8, "db2") @ np.array(SIGNAL)
    np.testing.assert_allclose(coefficients, APPROXIMATION + DETAIL, atol=tolerances.GIVEN_F32)


@pytest.mark.parametrize("name", resampling.DAUBECHIES)
def test_wavelet_transform_is_that_of_pywavelets(name):
    pywt = pytest.importorskip("pywt", reason="PyWavelets is not installed: the oracle of the wavelet transform")
    image = np.random.default_rng(0).random((16, 22))
    ours = resampling.dwt_matrix(16, name) @ image @ resampling.dwt_matrix(22, name).T
    approximation, (horizontal, vertical, diagonal) = pywt.dwt2(image, name, mode="periodization")
    np.testing.assert_allclose(
        ours, np.block([[approximation, vertical], [horizontal, diagonal]]), atol=tolerances.ROUNDING_F64
    )


def test_average_is_the_mean_of_what_the_window_covers():
    signal = np.random.default_rng(0).random(7)
    covered = [signal[max(i - 2, 0) : i + 3] for i in range(7)]
    np.testing.assert_allclose(
        resampling.average_matrix(7, 2, np.inf) @ signal,
        [values.mean() for values in covered],
        atol=tolerances.ROUNDING_F64,
    )
    weights = np.exp(-np.array([4, 1, 0, 1, 4]) / (2 * 1.5**2))
    np.testing.assert_allclose(
        resampling.average_matrix(7, 2, 1.5)[3, 1:6], weights / weights.sum(), atol=tolerances.ROUNDING_F64
    )


def test_rows_and_columns_are_filtered_apart():
    x = np.random.default_rng(0).random((2, 3, 4, 5, 1), np.float32)
    rows, columns = np.random.default_rng(1).random((6, 4)), np.random.default_rng(2).random((7, 5))
    expected = rows @ x[..., 0] @ columns.T
    ours = resampling.apply_separably(rows, jnp.asarray(x), columns)
    np.testing.assert_allclose(ours[..., 0], expected, rtol=tolerances.SUM_F32)
