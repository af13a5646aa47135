"""training.panel: a row an example, everything in [0, 1]."""

import numpy as np
import pytest

from fusioninn_jax.training.panel import panel
from tests import tolerances


def examples(**more):
    rng = np.random.default_rng(0)
    return {"sources": rng.random((2, 4, 5, 2), np.float32), "fused": rng.normal(size=(2, 4, 5, 1)), **more}


def test_rows_are_examples_and_columns_their_images():
    found = examples(latent=np.random.default_rng(1).normal(3, 7, (2, 4, 5, 1)), decomposed=np.full((2, 4, 5, 2), 0.5))
    made = panel(found)
    assert made.shape == (2 * 4, 6 * 5, 1) and made.min() >= 0 and made.max() <= 1
    np.testing.assert_array_equal(made[4:, 5:10, 0], found["sources"][1, ..., 1])
    np.testing.assert_array_equal(made[:4, 10:15, 0], np.clip(found["fused"][0, ..., 0], 0, 1))
    for row in (slice(0, 4), slice(4, 8)):  # three deviations about the mean of each
        assert made[row, 15:20].mean() == pytest.approx(0.5, abs=tolerances.ROUNDING_F32)
        assert made[row, 15:20].std() == pytest.approx(1 / 6, abs=tolerances.ROUNDING_F32)


def test_a_system_that_cannot_decompose_has_fewer_columns():
    assert panel(examples()).shape == (8, 15, 1)


def test_a_latent_without_any_variation_is_grey():
    assert (panel(examples(latent=np.full((2, 4, 5, 1), 40.0)))[:, 15:] == 0.5).all()
