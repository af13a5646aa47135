"""Entropy and mutual information against NumPy histograms, and their limits."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import stats

from fusioninn_jax.metrics.information import entropy, mutual_information
from tests.metrics.pictures import SHAPE, disc, grey_levels, images, triple
from tests.tolerances import METRIC_F32, METRIC_F64

EXAMPLES = settings(max_examples=25, deadline=None)


def entropy_reference(image, inside=None):
    levels = grey_levels(image)[slice(None) if inside is None else inside]
    return stats.entropy(np.histogram(levels, bins=256, range=(0, 256))[0], base=2)


def shared_reference(a, b, inside=None):
    a, b = (grey_levels(x)[inside] if inside is not None else grey_levels(x).ravel() for x in (a, b))
    joint = np.histogram2d(a, b, bins=256, range=[(0, 256), (0, 256)])[0] / a.size
    outer = joint.sum(1, keepdims=True) * joint.sum(0, keepdims=True)
    present = joint > 0
    return np.sum(joint[present] * np.log2(joint[present] / outer[present]))


@pytest.mark.parametrize("masked", [False, True])
def test_against_numpy_histograms(masked):
    x1, x2, fused = triple()
    mask = disc() if masked else None
    inside = mask[0] if masked else None
    of_entropy, of_mutual = entropy(fused, mask=mask), mutual_information(x1, x2, fused, mask=mask)
    for i in range(SHAPE[0]):
        np.testing.assert_allclose(of_entropy[i], entropy_reference(fused[i], inside), rtol=METRIC_F32)
        expected = shared_reference(x1[i], fused[i], inside) + shared_reference(x2[i], fused[i], inside)
        np.testing.assert_allclose(of_mutual[i], expected, rtol=METRIC_F32)


def test_float64_agrees_with_numpy_closely_and_with_float32():
    x1, x2, fused = triple()
    single = mutual_information(x1, x2, fused)
    with jax.enable_x64(True):
        double = mutual_information(*(x.astype(np.float64) for x in (x1, x2, fused)))
        levels = entropy(fused.astype(np.float64))
    np.testing.assert_allclose(
        double[0], shared_reference(x1[0], fused[0]) + shared_reference(x2[0], fused[0]), rtol=METRIC_F64
    )
    np.testing.assert_allclose(levels[0], entropy_reference(fused[0]), rtol=METRIC_F64)
    np.testing.assert_allclose(single, double, rtol=METRIC_F32)


def test_known_values():
    two_levels = np.tile(np.array([0, 1], np.float32), 72).reshape(1, 12, 12, 1)
    every_level = (np.arange(256, dtype=np.float32) / 255).reshape(1, 16, 16, 1)
    np.testing.assert_allclose(entropy(two_levels), 1, rtol=METRIC_F32)
    np.testing.assert_allclose(entropy(every_level), 8, rtol=METRIC_F32)
    np.testing.assert_allclose(mutual_information(every_level, 1 - every_level, every_level), 16, rtol=METRIC_F32)


def test_mask_only_counts_what_is_inside():
    x1, x2, fused = triple()
    mask = disc()
    outside = np.where(mask, fused, 0.7).astype(np.float32)
    np.testing.assert_array_equal(entropy(fused, mask=mask), entropy(outside, mask=mask))
    np.testing.assert_array_equal(
        mutual_information(x1, x2, fused, mask=mask), mutual_information(x1, x2, outside, mask=mask)
    )
    assert entropy(fused)[0] < entropy(fused, mask=mask)[0]  # the background is one level


def test_constant_images_and_empty_masks_give_zero():
    x1, x2, fused = triple()
    constant = np.full(SHAPE, 0.3, np.float32)
    np.testing.assert_allclose(entropy(constant), 0, atol=METRIC_F32)
    np.testing.assert_allclose(mutual_information(x1, x2, constant), 0, atol=METRIC_F32)
    np.testing.assert_array_equal(entropy(fused, mask=np.zeros(SHAPE)), 0)
    np.testing.assert_array_equal(mutual_information(x1, x2, fused, mask=np.zeros(SHAPE)), 0)


@EXAMPLES
@given(images(), images(), images())
def test_ranges_symmetry_and_identity(x1, x2, fused):
    of_fused, score = entropy(fused)[0], mutual_information(x1, x2, fused)[0]
    assert 0 <= of_fused <= 8
    assert 0 <= score <= entropy(x1)[0] + entropy(x2)[0] + METRIC_F32
    assert score <= 2 * of_fused + METRIC_F32
    np.testing.assert_allclose(score, mutual_information(x2, x1, fused)[0], atol=METRIC_F32)
    np.testing.assert_allclose(mutual_information(fused, fused, fused)[0], 2 * of_fused, atol=METRIC_F32)


def test_bad_input_is_refused():
    x1, x2, fused = triple()
    with pytest.raises(ValueError, match="0..255"):
        entropy(fused * 255)
    with pytest.raises(ValueError, match="NaN"):
        mutual_information(x1, x2, np.full(SHAPE, np.nan, np.float32))
