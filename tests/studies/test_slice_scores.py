"""studies.slice_scores: which slices are scored."""

import numpy as np

from fusioninn_jax.studies import examination, slice_scores


def test_where_no_slice_has_brain_enough_there_are_no_scores():
    brain = np.zeros((3, 10, 10), bool)
    brain[1, :2, :2] = True
    assert not slice_scores.is_scored(brain).any()
    assert slice_scores.means({"Q SSIM": np.full(3, np.nan)}) == {}
    assert examination.brain_box(np.zeros((3, 10, 10), bool)) == (slice(0, 3), slice(0, 10), slice(0, 10))
