"""fusioninn_jax.input_pipeline.slices: how intensities are scaled."""

import numpy as np
import pytest

from fusioninn_jax import input_pipeline
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances


def test_normalisation_is_min_max_per_slice_and_modality():
    raw = np.random.default_rng(0).uniform(-50, 900, (8, 9, 2)).astype(np.float32)
    clipped = np.maximum(raw, 0)
    low, high = clipped.min((0, 1)), clipped.max((0, 1))
    np.testing.assert_allclose(
        input_pipeline.normalise(raw), (clipped - low) / (high - low), rtol=tolerances.ROUNDING_F32
    )


def test_a_constant_slice_becomes_zero():
    raw = np.stack([np.full((4, 5), 7.0), np.arange(20.0).reshape(4, 5)], -1).astype(np.float32)
    normalised = input_pipeline.normalise(raw).numpy()
    assert (normalised[..., 0] == 0).all() and normalised[..., 1].max() == 1


def test_percentile_normalisation_is_not_darkened_by_one_outlier():
    raw = np.random.default_rng(0).uniform(1, 100, (64, 64, 1)).astype(np.float32)
    raw[5, 5] = 15_000
    assert np.median(input_pipeline.normalise(raw, "minmax")) < 0.01
    assert 0.4 < np.median(input_pipeline.normalise(raw, "percentile")) < 0.6


def test_an_unknown_normalisation_is_named():
    with pytest.raises(UserError, match="choose one"):
        input_pipeline.normalise(np.zeros((2, 2, 1), np.float32), "zscore")
