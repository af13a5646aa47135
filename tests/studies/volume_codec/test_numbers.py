"""Numbers beside a stream: they come back, and no more than asked for."""

import numpy as np
import pytest

from fusioninn_jax.studies.volume_codec import numbers


def test_numbers_come_back_and_no_more_than_asked_for():
    some = np.array([0, -1, 1, -(2**63), 2**63 - 1, 12345])
    np.testing.assert_array_equal(numbers.unpack(numbers.pack(some), 6), some)
    for count, told in ((5, "is longer than the 40 bytes declared"), (7, "has 48 bytes where 56 are declared")):
        with pytest.raises(ValueError, match=told):
            numbers.unpack(numbers.pack(some), count)
