"""A picture that is a known function of the sources: a weighted mean, in integers, so that it says again what they are.

picture = clip((sum of coefficient · level + half) >> shift, 1, most) where any source is content, 0 elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

SHIFT = 24
PERCENTILE = 99.8  # of a source's content: brighter is white


class Rule(NamedTuple):
    """The coefficient of each source, in 2⁻²⁴ grey levels a level, and the number of grey levels beside 0."""

    coefficients: tuple[int, ...]
    most: int


def mean_rule(levels: Sequence[np.ndarray], content: Sequence[np.ndarray], most: int) -> Rule:
    """Each source counts alike, from its lowest level to its brightest content.

    Args:
      levels: of each source, integers from 0.
      content: flags.
      most: the largest grey level, 1 to 255.
    """
    coefficients = []
    for values, flags in zip(levels, content, strict=True):
        chosen = values[flags > 0]
        white = np.percentile(chosen[:: max(1, len(chosen) // 200000)], PERCENTILE) if len(chosen) else 1
        coefficients.append(max(1, round((most << SHIFT) / (len(levels) * max(1.0, float(white))))))
    return Rule(tuple(coefficients), most)


def weigh(rule: Rule, levels: Sequence[np.ndarray]) -> np.ndarray:
    """Sum of coefficient · level over the first sources of a `rule`, and a half: int64.

    `levels`: of those sources, integers of one shape.
    """
    total = np.full(levels[0].shape, 1 << (SHIFT - 1), np.int64)
    for coefficient, values in zip(rule.coefficients, levels, strict=False):
        total += coefficient * values.astype(np.int64)
    return total


def picture(rule: Rule, levels: Sequence[np.ndarray], content: Sequence[np.ndarray]) -> np.ndarray:
    """The picture, uint8, that a `rule` makes of all sources.

    Args:
      rule: its coefficients, one a source.
      levels: of each source, integers of one shape.
      content: flags of each source, of that shape.
    """
    grey = np.clip(weigh(rule, levels) >> SHIFT, 1, rule.most).astype(np.uint8)
    return np.where(np.logical_or.reduce([flags > 0 for flags in content]), grey, np.uint8(0))
