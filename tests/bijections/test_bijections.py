"""Every bijection from one table: round trip, log-det against the Jacobian, inverse log-det, either precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tolerances
from tests.bijections.members import REPRESENTATIVE, TABLE, prepared
from tests.chosen import chosen

BFLOAT16 = TABLE["coupling_bfloat16_conditioner"]  # rounds anew in every compilation


@pytest.fixture(params=TABLE, name="case")
def case_fixture(request):
    return TABLE[request.param]


# Those that round in ways of their own: of the others a round trip in float64 tells as much.
IN_FLOAT32 = ("coupling_unclamped", "coupling_odds", "coupling_bfloat16_conditioner", *REPRESENTATIVE)


@pytest.mark.parametrize("name", chosen(TABLE, IN_FLOAT32))
def test_round_trip_in_float32(name):
    bijection, params, x, condition = prepared(TABLE[name])

    @jax.jit
    def there_and_back(params, x, condition):
        y, log_det = bijection.forward(params, x, condition)
        return y, log_det, *bijection.inverse(params, jax.lax.optimization_barrier(y), condition)

    check_round_trip(x, *there_and_back(params, x, condition), tolerances.ROUND_TRIP_F32)


def check_round_trip(x, y, log_det, back, inverse_log_det, tolerance):
    assert y.dtype == back.dtype == log_det.dtype == x.dtype
    assert log_det.shape == x.shape[:1] and y.size == x.size
    np.testing.assert_allclose(back, x, atol=tolerance)
    np.testing.assert_allclose(inverse_log_det, -np.asarray(log_det), atol=tolerance * 100)


def test_round_trip_and_log_det_of_the_jacobian_in_float64(case):
    with jax.enable_x64(True):
        bijection, params, x, condition = prepared(case, jnp.float64)

        @jax.jit
        def every(params, x, condition):
            def moved(shift):  # alike in every example, and none sees another: the derivative is each one's Jacobian
                y, log_det = bijection.forward(params, x + shift, condition)
                return y.reshape(len(x), -1), (y, log_det)

            derivative = jax.jacrev if case.rebuilt else jax.jacfwd
            jacobian, (y, log_det) = derivative(moved, has_aux=True)(jnp.zeros(x.shape[1:], x.dtype))
            return jacobian, y, log_det, *bijection.inverse(params, jax.lax.optimization_barrier(y), condition)

        jacobian, y, log_det, *back = every(params, x, condition)
        check_round_trip(x, y, log_det, *back, tolerances.ROUND_TRIP_F64)
        tolerance = tolerances.BFLOAT16 if case is BFLOAT16 else tolerances.GOLDEN_F64
        of_jacobian = np.linalg.slogdet(np.asarray(jacobian).reshape(len(x), x[0].size, x[0].size))[1]
        np.testing.assert_allclose(log_det, of_jacobian, rtol=tolerance, atol=tolerance)
