"""formats.negative: dark becomes bright, the background stays dark, and all of it comes back."""

import json

import numpy as np
import pytest

from fusioninn_jax.formats import negative
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances
from tests.formats.test_background import head


def test_a_negative_is_bright_where_the_volume_is_dark_and_comes_back():
    volume, inside = head()
    found = negative.find(volume)
    turned = negative.negated(volume, found)
    assert turned.dtype == volume.dtype
    for before, after, of_brain in zip(volume, turned, inside, strict=True):
        if not of_brain.any():
            continue
        low, high = before.min(), before.max()
        np.testing.assert_array_equal(np.argsort(-before[of_brain]), np.argsort(after[of_brain]))
        assert after[of_brain].min() >= low + negative.GAP * (high - low) * (1 - tolerances.ROUND_TRIP_F32)
        assert after[of_brain].max() <= high * (1 + tolerances.ROUND_TRIP_F32)
    assert (turned[~inside] == volume.min()).all()
    span = np.ptp(volume)
    np.testing.assert_allclose(negative.restored(turned, found), volume, atol=tolerances.ROUND_TRIP_F32 * span)
    noise = np.random.default_rng(1).uniform(-0.04, 0.04, turned.shape).astype(np.float32) * span
    noted = negative.from_note(json.loads(json.dumps(negative.note(found))), volume.shape)
    back = negative.restored(turned + noise, noted)
    assert (back[~inside] == 0).all() and np.abs(back - volume)[inside].max() < 0.05 * span


def test_values_below_the_background_and_constant_slices_come_back():
    volume, inside = head()
    volume[inside & (volume < 200)] -= 210  # undershoot, as in maps that are fitted
    volume[0], volume[1] = 0, 7
    found = negative.find(volume)
    turned = negative.negated(volume, found)
    assert (turned[found.outside] == volume.min()).all()
    back = negative.restored(turned, found)
    np.testing.assert_allclose(back, volume, atol=tolerances.ROUND_TRIP_F32 * np.ptp(volume))


def test_a_volume_without_a_background_is_named():
    volume = np.random.default_rng(0).uniform(0, 9, (3, 20, 20)).astype(np.float32)
    with pytest.raises(UserError, match=r"adc.nii: no single value is its background.*--invert"):
        negative.find(volume, "adc.nii")
