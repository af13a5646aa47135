"""Every bijection from one table: round trip, log-det against the Jacobian, inverse log-det, either precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests import tolerances
from tests.bijections.members import TABLE, prepared

BFLOAT16 = TABLE["coupling_bfloat16_conditioner"]  # rounds anew in every compilation


@pytest.fixture(params=TABLE, name="case")
def case_fixture(request):
    return TABLE[request.param]


@pytest.mark.parametrize(
    "dtype,tolerance", [(jnp.float32, tolerances.ROUND_TRIP_F32), (jnp.float64, tolerances.ROUND_TRIP_F64)]
)
def test_round_trip(case, dtype, tolerance):
    with jax.enable_x64(dtype == jnp.float64):
        bijection, params, x, condition = prepared(case, dtype)

        @jax.jit
        def there_and_back(params, x, condition):
            y, log_det = bijection.forward(params, x, condition)
            return y, log_det, *bijection.inverse(params, jax.lax.optimization_barrier(y), condition)

        y, log_det, back, inverse_log_det = there_and_back(params, x, condition)
        assert y.dtype == back.dtype == log_det.dtype == dtype
        assert log_det.shape == x.shape[:1] and y.size == x.size
        np.testing.assert_allclose(back, x, atol=tolerance)
        np.testing.assert_allclose(inverse_log_det, -log_det, atol=tolerance * 100)


def test_log_det_is_that_of_the_jacobian(case):
    with jax.enable_x64(True):
        bijection, params, x, condition = prepared(case, jnp.float64)
        one = None if condition is None else condition[:1]

        @jax.jit
        def both(row):
            def flat(row):
                return bijection.forward(params, row.reshape(1, *x.shape[1:]), one)[0].ravel()

            return (jax.jacrev if case.rebuilt else jax.jacfwd)(flat)(row.ravel()), bijection.forward(
                params, row[None], one
            )[1][0]

        for row in x[:2]:
            jacobian, log_det = both(row)
            tolerance = tolerances.BFLOAT16 if case is BFLOAT16 else tolerances.GOLDEN_F64
            np.testing.assert_allclose(log_det, np.linalg.slogdet(jacobian)[1], rtol=tolerance, atol=tolerance)
