"""Calibrated intervals: coverage on pixels that were not used, monotone maps, the file, what is refused."""

import json

import numpy as np
import pytest
from scipy import stats

from fusioninn_jax.trained_model import calibration
from tests import tolerances


def pixels(seed, count=40_000):
    """Spreads far too small, errors of two sources with other tails and scales, larger where the spread is."""
    generator = np.random.default_rng(seed)
    spread = np.exp(generator.normal(-5, 1, (count, 2)))
    scale = np.stack([5 * spread[:, 0], 0.01 + np.sqrt(spread[:, 1]) / 10], -1)
    noise = np.stack([generator.standard_normal(count), generator.laplace(size=count)], -1)
    return spread.astype(np.float32), (scale * noise).astype(np.float32)


def test_intervals_cover_what_they_say_of_pixels_that_were_not_used():
    fitted, (spread, error) = calibration.fit(*pixels(0)), pixels(1)
    found = calibration.coverage(fitted, spread, error)
    np.testing.assert_allclose(
        found, np.broadcast_to(np.array(calibration.LEVELS)[:, None], found.shape), atol=tolerances.SHARE
    )
    for half in (spread < np.median(spread, 0), spread > np.median(spread, 0)):  # and among calm and spread-out ones
        for m in range(2):
            inside = np.abs(error[half[:, m], m]) <= fitted.half_width(spread[half[:, m]], 0.8)[:, m]
            assert abs(inside.mean() - 0.8) < tolerances.SHARE_OF_PART


def test_the_deviation_and_the_half_widths_are_those_of_the_errors():
    fitted = calibration.fit(*pixels(0, 400_000))
    spread = np.array([[0.003, 0.003], [0.02, 0.02]], np.float32)
    scale = np.stack([5 * spread[:, 0], (0.01 + np.sqrt(spread[:, 1]) / 10)], -1)
    np.testing.assert_allclose(fitted.deviation(spread), scale * [1, 2**0.5], rtol=tolerances.FITTED)
    np.testing.assert_allclose(
        fitted.half_width(spread, 0.95)[:, 0], scale[:, 0] * stats.norm.ppf(0.975), rtol=tolerances.FITTED
    )


def test_intervals_cover_even_where_errors_shrink_with_the_spread():
    spread, error = pixels(0)
    fitted = calibration.fit(spread, 0.01 * error / spread)
    found = calibration.coverage(fitted, spread, 0.01 * error / spread)
    np.testing.assert_allclose(
        found, np.broadcast_to(np.array(calibration.LEVELS)[:, None], found.shape), atol=tolerances.SHARE_OF_PART
    )


def test_the_map_ascends_through_zero_and_ends_flat():
    generator = np.random.default_rng(0)
    fitted = calibration.fit(generator.random((600, 1)), generator.standard_normal((600, 1)))  # nothing to learn
    spread = np.linspace(0, 3, 50)[:, None]
    for values in (fitted.deviation(spread), fitted.half_width(spread, 0.5)):
        assert values[0] == 0 and (np.diff(values[:, 0]) >= 0).all() and values[-1] == values[-5] > 0


def test_the_file_gives_the_same_map_and_refuses_others():
    fitted = calibration.fit(*pixels(0))
    content = json.loads(json.dumps(fitted.to_json()))
    again, (spread, _) = calibration.from_json(content), pixels(2)
    np.testing.assert_array_equal(again.deviation(spread), fitted.deviation(spread))
    wrong = [
        {},
        [],
        content | {"levels": [0.5]},
        content | {"spreads": content["spreads"][:1]},
        content | {"deviations": [row[::-1] for row in content["deviations"]]},
        content | {"half_widths": None},
    ]
    for other in wrong:
        with pytest.raises(ValueError, match="not a calibration"):
            calibration.from_json(other)


def test_too_few_pixels_and_other_levels_are_refused():
    with pytest.raises(ValueError, match="needs 480 pixels; got 479"):
        calibration.fit(np.ones((479, 2)), np.ones((479, 2)))
    with pytest.raises(ValueError, match="level is 0.97"):
        calibration.fit(*pixels(0)).half_width(np.ones((1, 2)), 0.97)


def test_spreads_of_other_sources_are_refused_and_integers_give_floats():
    fitted = calibration.fit(*pixels(0))
    for shape in ((5, 1), (5, 3), ()):
        with pytest.raises(ValueError, match=r"spreads are \(..., 2\), as of the fit; got "):
            fitted.deviation(np.ones(shape))
    found = fitted.deviation(np.zeros((3, 2), np.uint8) + [0, 1])
    np.testing.assert_array_equal(found, fitted.deviation(np.array([[0.0, 1.0]] * 3)))
    assert found.dtype == np.float64 and 0 < found[0, 1]


@pytest.mark.parametrize("which", [0, 1])
def test_values_and_shapes_that_cannot_be_fitted_are_named(which):
    given = list(pixels(0))
    given[which][7, 1] = np.nan
    with pytest.raises(ValueError, match="finite spreads and errors; got NaN"):
        calibration.fit(*given)
    given[which] = given[which][:, :1]
    with pytest.raises(ValueError, match=r"\(N, m\); got .*\(40000, 1\)"):
        calibration.fit(*given)
