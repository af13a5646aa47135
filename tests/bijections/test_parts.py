"""The parts that a split makes: all of the array, each element once; what is no split is named."""

import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax.bijections.parts import parts_of
from tests.bijections.members import batch


@pytest.mark.parametrize(
    "split,match",
    [
        (0, "empty"),
        (4, "empty"),
        (9, "empty"),
        (0.0, "empty"),
        (1.0, "empty"),
        ((4,), "below 4"),
        ((-1,), "below 4"),
        ([True] * 4, "empty"),
        ([True, False], r"\(4,\)"),
        (np.ones((2, 2), bool), r"\(3, 4\)"),
        ((0.5, 0.5), "below 4"),
    ],
)
def test_splits_that_do_not_fit_are_named(split, match):
    with pytest.raises(ValueError, match=match):
        parts_of(split, (2, 3, 4))


@pytest.mark.parametrize("split", [[1, 0, 1, 0, 1], [0, 0, 2], [0.5, 1.0]])
def test_a_mask_of_integers_is_not_taken_for_channels(split):
    with pytest.raises(ValueError, match="each once, or is a mask of booleans"):
        parts_of(split, (6, 5))


@pytest.mark.parametrize("split", [None, 0.75, (3, 1), [True, False, True, True], np.eye(3, 4) > 0], ids=str)
def test_parts_join_to_what_they_were_separated_from(split):
    x = batch((2, 3, 4))
    parts = parts_of(split, x.shape)
    for own in (parts, parts.swapped()):
        np.testing.assert_array_equal(own.joined(*own.separated(x)), x)
    for ours, theirs in zip(parts.separated(x), parts.swapped().separated(x)[::-1], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_mask_hides_the_values_of_what_stays():
    mask = np.eye(3, 4) > 0
    found = parts_of(mask, (2, 3, 4)).only_moving(jnp.ones((2, 3, 4)))
    np.testing.assert_array_equal(found, np.broadcast_to(mask, (2, 3, 4)))
