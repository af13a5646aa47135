"""Q_NCIE against the toolbox's numbers, and its properties."""

import hypothesis
import numpy as np
import pytest

from benchmarks import numpy_loops
from fusioninn_jax.metrics import q_ncie
from tests import tolerances
from tests.metrics import table1
from tests.metrics.pictures import disc, grey_levels, images, triple

SHAPE = (1, 12, 13, 1)  # as pictures.images draws them
FLOOR = 1 - np.log(3) / np.log(256)


@pytest.mark.parametrize("float64", [True, False])
@pytest.mark.parametrize("variant", ["toolbox", "fusioninn"])
def test_goldens(case, variant, float64):
    levels, numbers = case
    table1.assert_golden(lambda *three: q_ncie(*three, variant=variant), levels, numbers["q_ncie"], float64=float64)


def test_shared_properties():
    table1.assert_shared_properties(q_ncie)


def test_gradient():
    table1.assert_gradient(lambda *three: q_ncie(*three, quantize=False))


def stretched(image):
    """Whole grey levels from 0 to 255, so that the metric's own stretch changes nothing."""
    levels = np.round(image * 255)
    levels[:, 0, :2, 0] = [0, 255]
    return (levels / 255).astype(np.float32)


def test_shared_bins_are_the_histogram_on_whole_grey_levels():
    three = [stretched(image) for image in triple(SHAPE)]
    np.testing.assert_allclose(q_ncie(*three, quantize=False), q_ncie(*three), atol=tolerances.METRIC_F32)


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(images(), images(), images())
def test_range_loops_and_any_order_of_the_images(x1, x2, fused):
    score = q_ncie(x1, x2, fused)
    assert FLOOR - tolerances.METRIC_F32 <= score[0] <= 1
    expected = numpy_loops.q_ncie(*(grey_levels(image)[0, ..., 0] for image in (x1, x2, fused)))
    np.testing.assert_allclose(score, [expected], atol=tolerances.METRIC_F32)
    np.testing.assert_allclose(q_ncie(fused, x1, x2), score, atol=tolerances.METRIC_F32)
    np.testing.assert_allclose(q_ncie(x1, x2, 1 - fused), score, atol=tolerances.METRIC_F32)


def test_independent_images_score_the_floor_and_identical_ones_less_than_one():
    ramp = np.tile(np.arange(256, dtype=np.float32) / 255, (1, 256, 1))
    noise = np.random.default_rng(0).random((1, 256, 256), np.float32)
    np.testing.assert_allclose(
        q_ncie(ramp, ramp.transpose(0, 2, 1), table1.constant(0.5, ramp.shape)), [FLOOR], atol=tolerances.METRIC_F32
    )
    assert 0.99 < q_ncie(noise, noise, noise)[0] < 1


@pytest.mark.parametrize("quantize", [True, False])
def test_pixels_outside_the_mask_do_not_exist(quantize):
    """The stretch is injective on 8-bit images, so that it sees the mask alone shows without rounding only."""
    mask = disc((1, 24, 26, 1))
    x1, x2, fused = (np.where(mask, 0.3 + 0.5 * image, 0) for image in triple((1, 24, 26, 1)))
    noise = np.random.default_rng(0).random(x1.shape, np.float32)
    expected = q_ncie(x1, x2, fused, mask=mask, quantize=quantize)
    changed = q_ncie(x1, x2, np.where(mask, fused, noise), mask=mask, quantize=quantize)
    np.testing.assert_allclose(changed, expected, atol=tolerances.METRIC_F32)
    pixels = [image[mask].reshape(1, 1, -1) for image in (x1, x2, fused)]
    np.testing.assert_allclose(q_ncie(*pixels, quantize=quantize), expected, atol=tolerances.METRIC_F32)


@pytest.mark.parametrize("quantize", [True, False])
def test_constant_images_and_an_empty_mask_score_the_floor(quantize):
    for value in (0.0, 0.3, 1.0):
        score = q_ncie(*[table1.constant(value)] * 3, quantize=quantize)
        np.testing.assert_allclose(score, FLOOR, atol=tolerances.METRIC_F32)
    empty = q_ncie(*triple(table1.SHAPE), mask=np.zeros(table1.SHAPE, bool), quantize=quantize)
    np.testing.assert_allclose(empty, FLOOR, atol=tolerances.METRIC_F32)


def test_page_says_what_the_example_gives():
    table1.assert_page("q_ncie")
