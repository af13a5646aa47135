"""training.integrity: what differs from what was saved is found and named, whatever the containers."""

import json
from typing import NamedTuple

import numpy as np
import pytest

from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.runtime.guarded import Damaged
from fusioninn_jax.training import integrity


class Pair(NamedTuple):
    a: np.ndarray
    b: list


TREE = {"a": np.zeros((2, 3), np.float32), "b": [np.arange(4)]}


def test_a_record_and_arrays_are_checked():
    record = integrity.seal({"step": 1, "loss": float("nan")})
    integrity.check_seal(json.loads(json.dumps(record)))
    with pytest.raises(Damaged):
        integrity.check_seal(record | {"step": 2})
    arrays = integrity.describe({"a": np.zeros(3, np.float32)})
    for other in (np.array([0, 0, -0.0], np.float32), np.zeros(3, np.int32)):
        with pytest.raises(Damaged, match="values of a"):
            integrity.check({"a": other}, arrays)
    with pytest.raises(Damaged, match="b is missing"):
        integrity.check({"a": np.zeros(3, np.float32), "b": 1}, arrays)


def test_a_place_has_one_name_in_tuples_and_dictionaries():
    described = integrity.describe(TREE)
    assert list(described) == ["a", "b.0"] and described["a"][:2] == [[2, 3], "float32"]
    assert integrity.describe(Pair(**TREE)) == described
    assert integrity.checksum(TREE) == integrity.checksum(Pair(**TREE))
    assert integrity.checksum(TREE) != integrity.checksum(TREE | {"a": np.zeros((3, 2), np.float32)})


def model(name="unet", **settings):
    return {"name": name, name: {"width": 8, "sources": 2, **settings}}


def test_how_gradients_are_computed_makes_no_other_model():
    saved, wanted = model("fusioninn", backward="stored"), model("fusioninn", backward="rebuilt")
    integrity.check_same_model(saved, wanted, "here")
    integrity.check_same_model(model() | {"another": {"width": 1}}, model(), "here")


@pytest.mark.parametrize(
    "wanted, message",
    [
        (model(width=9), r"here: .*another architecture \(width is 8, this run asks for 9\); use another --workdir"),
        (model("unet_3plus"), r"\(name is 'unet', this run asks for 'unet_3plus'\)"),
        (model(depth=3), r"\(depth is None, this run asks for 3\)"),
    ],
)
def test_another_architecture_is_named_by_its_first_setting(wanted, message):
    with pytest.raises(UserError, match=message):
        integrity.check_same_model(model(), wanted, "here")


@pytest.mark.parametrize(
    "state, message",
    [
        (TREE | {"a": np.zeros((2, 4), np.float32)}, r"\(a is float32 \(2, 3\), this run needs float32 \(2, 4\)\)"),
        (TREE | {"a": np.zeros((2, 3), np.float16)}, r"this run needs float16 \(2, 3\)"),
        (TREE | {"ema": np.zeros(1, np.int8)}, r"\(ema is missing, this run needs int8 \(1,\)\)"),
        ({"a": TREE["a"]}, r"\(b.0 is int64 \(4,\), this run needs none\)"),
    ],
)
def test_arrays_of_another_shape_or_type_are_named(state, message):
    arrays = integrity.describe(TREE)
    integrity.check_same_shapes(arrays, TREE | {"a": np.ones((2, 3), np.float32)}, "here")  # values may differ
    with pytest.raises(UserError, match=message):
        integrity.check_same_shapes(arrays, state, "here")
