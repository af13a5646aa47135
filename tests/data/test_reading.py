"""data.brats.reading.keep: which slices become examples."""

import numpy as np
import pytest

from data.brats import reading


def _slices(brain_pixels, labels):
    """One 10 x 10 slice per entry: so many brain pixels (in the second source alone), and these labels."""
    sources = np.zeros((len(brain_pixels), 100, 2), np.float32)
    mask = np.zeros((len(brain_pixels), 100, 1), np.uint8)
    for row, (count, present) in enumerate(zip(brain_pixels, labels, strict=True)):
        sources[row, :count, 1] = 5
        mask[row, : len(present), 0] = present
    shape = (len(brain_pixels), 10, 10)
    return reading.Slices(sources.reshape(*shape, 2), mask.reshape(*shape, 1), ["a"] * len(shape), 0, (1.0, 1.0), 0)


@pytest.mark.parametrize(
    "annotated, required, fraction, expected",
    [
        (True, (1, 2), 0.05, [True, False, False, True, False]),  # the last has its labels outside any brain
        (True, (2,), 0.05, [True, True, False, True, False]),
        (True, (), 0.05, [True, True, True, False, False]),
        (False, (1, 2), 0.05, [True, True, True, False, False]),
        (False, (), 0.9, [True, False, False, False, False]),
        (False, (), 0.0, [True, True, True, True, False]),
    ],
)
def test_keep(annotated, required, fraction, expected):
    slices = _slices([90, 50, 5, 4, 0], [(1, 2, 4), (2,), (), (1, 2), (1, 2)])
    kept = reading.keep(slices, annotated=annotated, required_labels=required, min_brain_fraction=fraction)
    assert kept.tolist() == expected
