"""How sure a mean score is, and a difference of two: bootstrap intervals and a sign-flip test, in NumPy.

Slices of one patient are alike, so they are not independent observations: give the patients as `clusters`, and whole
patients are drawn, with all their slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

BLOCK = 4_000_000  # random numbers held at once
BOOTSTRAP_SEED = 0  # of every interval and test that tables print


class Interval(NamedTuple):
    """A mean and the ends of its interval, in the units of the values."""

    mean: float
    low: float
    high: float


def interval_text(value: Mapping[str, float], digits: int = 4) -> str:
    """`mean [low, high]`, as tables show an interval.

    Args:
      value: has `mean`, `low` and `high`.
      digits: behind the point.
    """
    return f"{value['mean']:.{digits}f} [{value['low']:.{digits}f}, {value['high']:.{digits}f}]"


class Comparison(NamedTuple):
    """Mean of a - b, the ends of its interval, and the two-sided p-value of "no difference"."""

    difference: float
    low: float
    high: float
    p_value: float


def _finite(values: ArrayLike, name: str) -> np.ndarray:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{name} has shape {array.shape}; give one value per image, at least one")
    if not np.isfinite(array).all():
        raise ValueError(f"{name}: {np.count_nonzero(~np.isfinite(array))} of {array.size} values are not finite")
    return array


def _totals(values: np.ndarray, clusters: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the values of each cluster."""
    if clusters is None:
        return values, np.ones_like(values)
    labels = np.asarray(clusters)
    if labels.shape != values.shape:
        raise ValueError(f"clusters has shape {labels.shape}, the values {values.shape}; give one label per value")
    _, index = np.unique(labels, return_inverse=True)
    return np.bincount(index, values), np.bincount(index).astype(float)


def _blocks(resamples: int, width: int) -> list[int]:
    """Splits the resamples so that no more than about BLOCK numbers of `width` each are held at once."""
    size = max(1, BLOCK // width)
    return [min(size, resamples - start) for start in range(0, resamples, size)]


def _check(resamples: int, level: float) -> None:
    if resamples < 1 or not 0 < level < 1:
        raise ValueError(f"resamples={resamples}, level={level}: give at least 1 resample and a level between 0 and 1")


def bootstrap_interval(
    values: ArrayLike, *, seed: int, resamples: int = 2000, level: float = 0.95, clusters: ArrayLike | None = None
) -> Interval:
    """Percentile bootstrap interval of the mean of `values`.

    Estimator: the mean over all values, as tables print it, so a patient weighs by its number of slices. A resample
    draws as many clusters as there are, with replacement, and divides the sum of their values by the number of those
    (a ratio where clusters differ in size). To let every patient weigh the same, pass one mean per patient instead.

    Args:
      values: (N,) one score per image.
      seed: of the draws; the same seed gives the same interval.
      resamples: bootstrap resamples.
      level: coverage asked for, between 0 and 1.
      clusters: (N,) labels of any kind, equal for images of one patient; None: every value is its own cluster.

    Returns:
      Mean, low and high. One value, or one cluster, gives low = high = mean: resampling can't tell any spread, which
      is no sign of certainty. With fewer than about 20 clusters the interval is too narrow.

    Raises:
      ValueError: no values, not finite, shapes differ, or resamples or level out of range.

    Source: Efron & Tibshirani 1993, "An introduction to the bootstrap", section 13.3; for clusters Davison & Hinkley
    1997, "Bootstrap methods and their application", section 3.8.
    """
    _check(resamples, level)
    array = _finite(values, "values")
    sums, counts = _totals(array, clusters)
    mean = float(sums.sum() / counts.sum())
    if len(sums) == 1:
        return Interval(mean, mean, mean)
    rng = np.random.default_rng(seed)
    means = []
    for rows in _blocks(resamples, len(sums)):
        drawn = rng.integers(len(sums), size=(rows, len(sums)))
        means.append(sums[drawn].sum(1) / counts[drawn].sum(1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def _sign_flip_p_value(sums: np.ndarray, rng: np.random.Generator, resamples: int) -> float:
    """Share of random sign patterns whose total is at least as far from 0, the observed one counted among them."""
    observed = abs(sums.sum()) * (1 - 1e-12)  # a pattern that ties must not lose by rounding
    as_far = 0
    for rows in _blocks(resamples, len(sums)):
        signs = rng.integers(2, size=(rows, len(sums)), dtype=np.int8) * 2 - 1
        as_far += int(np.count_nonzero(np.abs(signs @ sums) >= observed))
    return (1 + as_far) / (1 + resamples)


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
    clusters: ArrayLike | None = None,
) -> Comparison:
    """Compares two systems on the same images: mean of a - b, its bootstrap interval, and a p-value.

    The interval is `bootstrap_interval` of the differences. The p-value is a sign-flip test's: if the systems are
    alike, the differences of a whole patient may as well have the other sign. It stays honest where a bootstrap
    p-value does not: one patient gives 1, two about a half at least.

    Args:
      a: (N,) scores of the first system.
      b: (N,) scores of the second, in the same order.
      seed: of the draws.
      resamples: bootstrap resamples, and random sign patterns.
      level: coverage asked for, between 0 and 1.
      clusters: (N,) patient of each image; None: every image is its own.

    Returns:
      Difference, low, high, and p-value in [1 / (resamples + 1), 1]; 1 where all differences are 0.

    Raises:
      ValueError: as `bootstrap_interval`, or a and b differ in length.

    Source: Good 2005, "Permutation, parametric and bootstrap tests of hypotheses", section 3.2; the count of the
    observed pattern, Phipson & Smyth 2010, "Permutation p-values should never be zero".
    """
    first, second = _finite(a, "a"), _finite(b, "b")
    if first.shape != second.shape:
        raise ValueError(f"a has {first.size} values, b {second.size}; give both systems' scores of the same images")
    difference = first - second
    mean, low, high = bootstrap_interval(difference, seed=seed, resamples=resamples, level=level, clusters=clusters)
    rng = np.random.default_rng((seed, 1))  # other draws than the interval's
    return Comparison(mean, low, high, _sign_flip_p_value(_totals(difference, clusters)[0], rng, resamples))
