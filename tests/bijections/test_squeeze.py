"""The order of the squeezed pixels, and what cannot be squeezed."""

import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj


def test_squeeze_orders_the_pixels_of_each_channel_in_turn():
    x = jnp.array([[[[0, 10], [1, 11]], [[2, 12], [3, 13]]]], jnp.float32)
    np.testing.assert_array_equal(bj.squeeze_forward(x)[0].ravel(), [0, 1, 2, 3, 10, 11, 12, 13])


@pytest.mark.parametrize(
    "squeeze,shape,match",
    [
        (bj.squeeze_forward, (1, 5, 4, 2), "even height and width; got 5x4"),
        (bj.squeeze_forward, (1, 4), r"\(B, H, W, C\)"),
        (bj.squeeze_inverse, (1, 2, 2, 6), "4C"),
    ],
)
def test_shapes_that_do_not_fit_are_named(squeeze, shape, match):
    with pytest.raises(ValueError, match=match):
        squeeze(jnp.zeros(shape))
