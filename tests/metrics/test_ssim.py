"""Q_SSIM against the published library's numbers, and its properties."""

import hypothesis
import numpy as np
import pytest

from benchmarks import numpy_loops
from fusioninn_jax.metrics import q_ssim
from tests import tolerances
from tests.metrics import table1
from tests.metrics.pictures import scenes, triple

SHAPE = (1, 16, 17, 1)


@pytest.mark.parametrize("float64", [True, False])
def test_real_goldens(reference, float64):
    levels, numbers = table1.real(reference)
    expected = (numbers["q_ssim_x1"] + numbers["q_ssim_x2"]) / 2
    table1.assert_golden(q_ssim, levels, expected, float64=float64)


def test_windows_written_out():
    images = triple(SHAPE)
    expected = numpy_loops.q_ssim(*(image[0, ..., 0].astype(float) for image in images))
    np.testing.assert_allclose(q_ssim(*images), [expected], atol=tolerances.METRIC_F32)


def test_shared_properties():
    table1.assert_shared_properties(q_ssim)
    table1.assert_parts_make_the_whole(q_ssim)


def test_gradient():
    table1.assert_gradient(q_ssim)


def test_both_variants_are_the_same_metric():
    images = triple(SHAPE)
    np.testing.assert_array_equal(q_ssim(*images, variant="fusioninn"), q_ssim(*images))


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(scenes(SHAPE), scenes(SHAPE), scenes(SHAPE))
def test_range_and_identity(x1, x2, fused):
    score = q_ssim(x1, x2, fused)
    assert -1 - tolerances.METRIC_F32 <= score[0] <= 1 + tolerances.METRIC_F32
    np.testing.assert_allclose(q_ssim(x1, x1, x1), [1], atol=tolerances.METRIC_F32)


def test_raw_network_output_is_scored_as_it_is():
    x1, x2, fused = triple(SHAPE)
    outside = q_ssim(x1, x2, 2 * fused - 0.5)
    assert np.isfinite(outside).all()
    assert not np.allclose(outside, q_ssim(x1, x2, np.clip(2 * fused - 0.5, 0, 1)))


def test_constants_keep_the_luminance_term_alone():
    a, b = 0.25, 0.75
    score = q_ssim(*(table1.constant(value) for value in (a, a, b)))
    np.testing.assert_allclose(score, (2 * a * b + 1e-4) / (a * a + b * b + 1e-4), atol=tolerances.METRIC_F32)


def test_page_says_what_the_example_gives():
    table1.assert_page("q_ssim")
