"""fusioninn_jax.anatomy.brain: any source above 0, for one slice or many, NumPy or JAX."""

import jax.numpy as jnp
import numpy as np

from fusioninn_jax.anatomy import brain

SOURCES = np.array([[[0.0, 0.0], [0.5, 0.0], [0.0, 1.0], [-0.1, 0.0]]], np.float32)  # (1, 4, 2)


def test_any_source_above_nought_is_brain():
    np.testing.assert_array_equal(brain.inside(SOURCES)[..., 0], [[False, True, True, False]])
    np.testing.assert_array_equal(brain.inside(np.moveaxis(SOURCES, -1, 0), axis=0)[0], [[False, True, True, False]])
    assert brain.inside(SOURCES).dtype == bool


def test_images_and_a_stack_agree():
    sources = tuple(jnp.asarray(SOURCES[None, ..., i : i + 1]) for i in range(2))
    np.testing.assert_array_equal(brain.brain_mask(sources), brain.inside(SOURCES[None]))


def test_the_box_of_a_mask_is_wider_by_the_margins_and_ends_with_the_image():
    mask = np.zeros((3, 10, 8), bool)
    mask[1:, 4, 2] = mask[2, 5, 7] = True
    assert brain.bounding_box(mask, (0, 0, 0)) == (slice(1, 3), slice(4, 6), slice(2, 8))
    assert brain.bounding_box(mask, (0, 3, 1)) == (slice(1, 3), slice(1, 9), slice(1, 8))
    assert brain.bounding_box(mask, (5, 5, 5)) == (slice(0, 3), slice(0, 10), slice(0, 8))
    assert brain.bounding_box(mask & False, (1, 1, 1)) == (slice(0, 3), slice(0, 10), slice(0, 8))
