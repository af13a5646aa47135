"""What leaves at a split and what stays; shapes that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import bijections as bj
from tests import tolerances
from tests.bijections.members import batch


def test_what_leaves_comes_first_and_inner_sees_the_rest():
    x = batch((2, 3, 4))
    y, log_det = bj.split(bj.rescale(2.0), (3, 4), split=(3, 0)).forward({}, x)
    np.testing.assert_array_equal(y[:, :6], x[..., 1:3].reshape(2, 6))
    np.testing.assert_array_equal(y[:, 6:], 2 * x[..., jnp.array([0, 3])].reshape(2, 6))
    np.testing.assert_allclose(log_det, np.full(2, 6 * np.log(2)), rtol=tolerances.ROUNDING_F32)


def test_a_reshape_keeps_the_order_of_the_elements():
    x = batch((2, 2, 6))
    np.testing.assert_array_equal(bj.reshape((2, 6), (3, 4)).forward({}, x)[0].ravel(), x.ravel())
    np.testing.assert_array_equal(bj.identity().forward({}, x)[0], x)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="cannot make"):
        bj.reshape((2, 3), (5,))
    with pytest.raises(ValueError, match=r"reshape takes \(B, 2, 3\)"):
        bj.reshape((2, 3), (6,)).forward({}, jnp.zeros((2, 6)))
    with pytest.raises(ValueError, match=r"split takes \(B, 4\)"):
        bj.split(bj.actnorm(), (4,)).init(jax.random.key(0), jnp.zeros((2, 6)))
    with pytest.raises(ValueError, match="mask of elements"):
        bj.split(bj.identity(), (2, 2), split=np.eye(2) > 0)
