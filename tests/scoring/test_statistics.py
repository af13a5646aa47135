"""The bootstrap against SciPy, theory and its coverage; the sign-flip test against its exact distribution."""

import itertools

import numpy as np
import pytest
from scipy import stats

from fusioninn_jax.scoring.statistics import bootstrap_interval, interval_text, paired_bootstrap
from tests import tolerances


def clustered(seed, patients=40, spread=1.0):
    """Slices of unequal number per patient, sharing the patient's level; the true mean is 0."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(5, 30, patients)
    labels = np.repeat(np.arange(patients), counts)
    return rng.normal(0, spread, patients)[labels] + 0.1 * rng.normal(size=labels.size), labels


def test_interval_is_scipy_s():
    values = np.random.default_rng(0).gamma(2.0, size=60)
    ours = bootstrap_interval(values, seed=1, resamples=10_000)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=10_000, method="percentile", rng=2).confidence_interval
    width = theirs.high - theirs.low
    assert ours.mean == pytest.approx(values.mean())
    assert max(abs(ours.low - theirs.low), abs(ours.high - theirs.high)) < tolerances.MONTE_CARLO * width


def test_level_sets_the_width():
    values = np.random.default_rng(0).normal(size=400)
    for level in (0.5, 0.95):
        interval = bootstrap_interval(values, seed=1, resamples=10_000, level=level)
        expected = 2 * stats.norm.ppf((1 + level) / 2) * values.std() / np.sqrt(values.size)
        assert interval.high - interval.low == pytest.approx(expected, rel=tolerances.MONTE_CARLO)


def test_coverage_of_independent_values():
    covered = [
        low <= 0 <= high
        for _, low, high in (
            bootstrap_interval(np.random.default_rng(i).normal(size=50), seed=i, resamples=400) for i in range(400)
        )
    ]
    assert 0.90 < np.mean(covered) < 0.97


def test_coverage_of_clustered_values_needs_the_clusters():
    with_clusters, without = [], []
    for i in range(200):
        values, labels = clustered(i)
        for found, options in ((with_clusters, {"clusters": labels}), (without, {})):
            interval = bootstrap_interval(values, seed=i, resamples=300, **options)
            found.append(interval.low <= 0 <= interval.high)
    assert 0.87 < np.mean(with_clusters) < 0.98
    assert np.mean(without) < 0.6


def test_estimator_weighs_patients_by_their_slices():
    values, labels = np.array([1.0, 0, 0, 0]), ["a", "b", "b", "b"]
    interval = bootstrap_interval(values, seed=0, clusters=labels)
    assert interval.mean == 0.25
    assert (interval.low, interval.high) == (0, 1)  # twice b, twice a
    middle = bootstrap_interval(values, seed=0, clusters=labels, level=0.1)  # one of each, half of the time
    assert (middle.low, middle.high) == (0.25, 0.25)


def test_clusters_of_one_value_are_no_clusters():
    values = np.random.default_rng(0).normal(size=30)
    alone = bootstrap_interval(values, seed=3)
    np.testing.assert_allclose(bootstrap_interval(values, seed=3, clusters=np.arange(30)), alone)
    shuffled = bootstrap_interval(np.tile(values, 7), seed=3, clusters=np.tile(np.arange(30), 7))
    np.testing.assert_allclose(shuffled, alone)  # repeating every slice adds no knowledge


def test_seed_decides_and_blocks_do_not(monkeypatch):
    values = np.random.default_rng(0).normal(size=30)
    first = bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) == first != bootstrap_interval(values, seed=4)
    monkeypatch.setattr("fusioninn_jax.scoring.statistics.BLOCK", 100)
    assert bootstrap_interval(values, seed=3) == first


def test_degenerate_inputs_have_defined_values():
    assert bootstrap_interval([0.7], seed=0) == (0.7, 0.7, 0.7)
    assert bootstrap_interval([0.5, 1.0], seed=0, clusters=["p", "p"]) == (0.75, 0.75, 0.75)
    np.testing.assert_allclose(bootstrap_interval([0.7] * 9, seed=0), 0.7)
    assert paired_bootstrap([0.9], [0.8], seed=0).p_value == 1
    assert paired_bootstrap([0.9, 0.8], [0.9, 0.8], seed=0) == (0, 0, 0, 1)


@pytest.mark.parametrize(
    "values, options, message",
    [
        ([0.5, np.nan], {}, "not finite"),
        ([0.5, np.inf], {}, "not finite"),
        ([], {}, "at least one"),
        ([[0.5, 0.6]], {}, "one value per image"),
        ([0.5, 0.6], {"clusters": ["a"]}, "one label per value"),
        ([0.5, 0.6], {"level": 95}, "level"),
        ([0.5, 0.6], {"resamples": 0}, "resamples"),
    ],
)
def test_bad_input_is_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, seed=0, **options)


def test_pairs_must_match():
    with pytest.raises(ValueError, match="same images"):
        paired_bootstrap([1.0, 2.0], [1.0], seed=0)
    with pytest.raises(ValueError, match="b: 1 of 2"):
        paired_bootstrap([1.0, 2.0], [1.0, np.nan], seed=0)


def test_comparison_sees_a_small_difference_under_a_large_spread():
    rng = np.random.default_rng(0)
    level = rng.normal(size=100)
    a, b = level + 0.02 + 0.02 * rng.normal(size=100), level
    found = paired_bootstrap(a, b, seed=1)
    assert found.difference == pytest.approx(np.mean(a - b))
    assert 0 < found.low < found.difference < found.high and found.p_value < 0.01
    swapped = paired_bootstrap(b, a, seed=1)
    np.testing.assert_allclose([swapped.low, swapped.high], [-found.high, -found.low], rtol=tolerances.ESTIMATED)


def test_p_value_is_that_of_all_sign_patterns():
    difference = np.random.default_rng(5).normal(0.4, 1, size=8)
    totals = [abs(np.dot(signs, difference)) for signs in itertools.product((-1, 1), repeat=8)]
    exact = np.mean(np.array(totals) >= abs(difference.sum()) - tolerances.LONG_F64)
    found = paired_bootstrap(difference, np.zeros(8), seed=1, resamples=20_000)
    assert 0.05 < exact < 0.95
    assert found.p_value == pytest.approx(exact, abs=tolerances.SHARE)


def test_p_value_is_uniform_when_systems_are_alike_and_patients_are_kept_whole():
    small, naive = [], []
    for i in range(200):
        values, labels = clustered(i, patients=15)
        small.append(paired_bootstrap(values, 0 * values, seed=i, resamples=200, clusters=labels).p_value < 0.1)
        naive.append(paired_bootstrap(values, 0 * values, seed=i, resamples=200).p_value < 0.1)
    assert 0.03 < np.mean(small) < 0.18
    assert np.mean(naive) > 0.4


@pytest.mark.parametrize("digits, text", [(4, "0.1235 [-0.0000, 12.0000]"), (1, "0.1 [-0.0, 12.0]")])
def test_the_text_of_an_interval(digits, text):
    assert interval_text({"mean": 0.12345678, "low": -1e-9, "high": 12, "worst": 0}, digits) == text
