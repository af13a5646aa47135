"""data.splits: the seeded draw."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import splits
from fusioninn_jax.runtime.errors import UserError


@settings(deadline=None, max_examples=50)
@given(count=st.integers(3, 60), seed=st.integers(0, 100), validation=st.floats(0, 0.4), test=st.floats(0, 0.3))
def test_sizes_and_independence_of_order(count, seed, validation, test):
    names = [f"n{i}" for i in range(count)]
    drawn = splits.assign(names, seed=seed, val_fraction=validation, test_fraction=test)
    assert drawn == splits.assign(names[::-1], seed=seed, val_fraction=validation, test_fraction=test)
    assert set(drawn) == set(names)
    for split, fraction in (("validation", validation), ("test", test)):
        expected = max(1, round(fraction * count)) if fraction else 0
        assert sum(value == split for value in drawn.values()) == expected


def test_every_name_can_be_drawn():
    names = [f"n{i}" for i in range(6)]
    drawn = [splits.assign(names, seed=seed, val_fraction=0.1, test_fraction=0) for seed in range(60)]
    assert {name for one in drawn for name, split in one.items() if split == "validation"} == set(names)


@pytest.mark.parametrize("names, validation", [([], 0.0), (["a"], 0.1), (["a", "b"], 0.9)])
def test_nothing_left_to_train_on(names, validation):
    with pytest.raises(UserError, match="'train' empty"):
        splits.assign(names, seed=0, val_fraction=validation, test_fraction=0)
