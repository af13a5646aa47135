"""What the tests of several builders read."""

import pytest

from tests.data import synthetic


@pytest.fixture
def source(tmp_path):
    """A folder of three BraTS subjects."""
    for seed, name in enumerate(("p1", "p2", "p3")):
        synthetic.brats(tmp_path / "in", name, seed=seed)
    return tmp_path / "in"
