"""phantom.fields: splines and random fields."""

import numpy as np

from fusioninn_jax.phantom import fields
from tests import tolerances


def test_spline_field_reproduces_a_constant_and_a_line():
    grid = fields.slice_grid([40, 41, 90], 64, 3.0)
    shape = fields.coefficient_shape(10.0)
    np.testing.assert_allclose(
        fields.spline_field(np.full(shape, 2.5, np.float32), grid, 10.0), 2.5, rtol=tolerances.ROUNDING_F32
    )
    ramp = np.broadcast_to((np.arange(shape[1], dtype=np.float32) - 1)[None, :, None] * 10, shape)
    line = fields.spline_field(ramp, grid, 10.0)
    np.testing.assert_allclose(line[0, :, 5], grid.y, atol=tolerances.LONG_F32)


def test_random_field_has_unit_variance():
    grid = fields.slice_grid(range(20, 180, 8), 80, 3.0)
    values = fields.random_field(np.random.default_rng(0), grid, 6.0)
    assert abs(values.mean()) < 0.05 and abs(values.std() - 1) < 0.05
