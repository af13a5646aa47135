"""What several metrics' tests are given."""

import pytest

from tests.metrics import table1


@pytest.fixture(params=["portable", "real"])
def case(request):
    """(x1, x2, fused) in grey levels and the golden numbers by name: of made images, then of real ones."""
    return table1.portable() if request.param == "portable" else table1.real(request.getfixturevalue("reference"))
