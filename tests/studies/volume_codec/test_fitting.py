"""Fitting: groups of slices, and differences that a triangle makes uncorrelated."""

import numpy as np

from fusioninn_jax.studies.volume_codec import fitting
from fusioninn_jax.studies.volume_codec.layout import BEFORE, BEHIND
from tests import tolerances


def test_the_first_two_slices_have_groups_of_their_own():
    group = fitting.groups(BEFORE + 2 + 2 * fitting.GROUP + BEHIND)[BEFORE:-BEHIND]
    assert group.tolist() == [0, 1, *[2] * fitting.GROUP, *[3] * fitting.GROUP]


def test_decorrelated_differences_have_one_size_and_nothing_in_common():
    rng = np.random.default_rng(0)
    differences = rng.standard_normal((20_000, 3)) @ np.array([[90.0, 60, 5], [0, 40, 20], [0, 0, 7]])
    triangle = fitting.decorrelation(differences.T @ differences, float(len(differences)))
    assert triangle.dtype == np.int64 and not np.triu(triangle, 1).any()
    apart = differences @ triangle.T / 65536
    np.testing.assert_allclose(apart.T @ apart / len(apart) / 256**2, np.eye(3), atol=tolerances.DRAWS)
