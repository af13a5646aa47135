"""fusioninn_jax.objective.augmentation: what stays the same while an example is changed at random."""

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest

from fusioninn_jax.objective.augmentation import augment
from fusioninn_jax.objective.slices import Slices
from fusioninn_jax.settings import defaults
from tests import tolerances
from tests.golden import portable_inputs


def test_augmentation_keeps_range_and_moves_modalities_together():
    pair = portable_inputs.smooth(0, 1, 16, 16)[0].transpose(1, 2, 0)
    twice = jnp.asarray(np.concatenate([pair[..., :1], pair[..., :1]], -1))
    geometry = defaults("augment")
    geometry.rotation = 15.0
    moved = [augment(jax.random.key(i), Slices(twice), geometry).sources for i in range(8)]
    for image in moved:
        np.testing.assert_allclose(image[..., 0], image[..., 1], atol=tolerances.ROUNDING_F32)
        assert image.min() >= 0 and image.max() <= 1
    assert len({np.asarray(image).tobytes() for image in moved}) == 8
    nothing = ml_collections.ConfigDict(
        {"flip": False, "rotation": 0.0, "gamma": 0.0, "gain": 0.0, "tone": 0.0, "swap": False}
    )
    same = augment(jax.random.key(0), Slices(twice), nothing).sources
    np.testing.assert_array_equal(same, twice)


@pytest.mark.parametrize("setting", [{"gamma": 0.3}, {"gain": 0.4}, {"gamma": 0.2, "gain": 0.3, "swap": True}])
def test_a_change_of_intensity_keeps_the_order_of_pixels(setting):
    pair = jnp.asarray(portable_inputs.smooth(0, 1, 16, 16)[0].transpose(1, 2, 0))
    config = defaults("augment")
    config.update({"flip": False, **setting})
    ranks, orders = jnp.argsort(pair[..., 0].ravel()), set()
    for i in range(8):
        changed = augment(jax.random.key(i), Slices(pair), config).sources
        assert float(jnp.abs(changed - pair).max()) > 1e-3 and changed.min() >= 0 and changed.max() <= 1
        ascending = [bool((jnp.diff(changed[..., k].ravel()[ranks]) >= -tolerances.ROUNDING_F32).all()) for k in (0, 1)]
        assert any(ascending)
        orders.add(ascending[0])
    assert (len(orders) == 2) == config.swap


def test_a_change_of_tone_is_a_curve_that_keeps_black_black():
    values = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16, 1)
    pair = jnp.asarray(np.concatenate([values, values[::-1, ::-1]], -1))
    config = defaults("augment")
    config.update({"flip": False, "tone": 1.0})
    falls = 0
    for i in range(8):
        changed = np.asarray(augment(jax.random.key(i), Slices(pair), config).sources)
        for k in (0, 1):
            curve = changed[..., k].ravel()[:: 1 - 2 * k]  # by the value that it had
            assert curve[0] == 0 and curve[1:].min() > 0 and curve.max() <= 1
            assert np.abs(np.diff(curve)).max() < 0.1  # no jumps
            falls += (np.diff(curve) < 0).any()
        assert np.abs(changed[..., 0] - changed[::-1, ::-1, 1]).max() > 1e-3  # each modality has its own
    assert falls > 8


def test_a_target_made_beforehand_follows_the_geometry():
    pair = jnp.asarray(portable_inputs.smooth(0, 1, 16, 16)[0].transpose(1, 2, 0))
    config = defaults("augment")
    config.rotation = 10.0
    for i in range(4):
        moved = augment(jax.random.key(i), Slices(pair, target=pair[..., :1]), config)
        np.testing.assert_array_equal(moved.target, moved.sources[..., :1])
