"""The Haar squeeze of one cell."""

import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj


def test_haar_gives_the_mean_and_the_details_of_each_cell():
    cell = jnp.array([[1.0, 2.0], [3.0, 8.0]]).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(bj.haar_forward(cell)[0].ravel(), [7, -3, -4, 2])
    with pytest.raises(ValueError, match="even height and width"):
        bj.haar_forward(jnp.zeros((1, 3, 2, 1)))
    with pytest.raises(ValueError, match="4C"):
        bj.haar_inverse(jnp.zeros((1, 3, 2, 6)))
