"""The codec of volumes: every plane comes back exactly, whatever is known; what no encoder wrote does no harm."""

import numpy as np
import pytest

from fusioninn_jax.runtime import cores
from fusioninn_jax.studies.volume_codec import codec
from fusioninn_jax.studies.volume_codec.planes import Given, Plane
from tests.studies.volume_codec.planes_of_heads import head, plane


def planes():
    """Planes at the edges of what the codec takes, by name."""
    rng = np.random.default_rng(0)
    yield "head", plane(head(1))
    yield "one voxel", plane([[[5]]])
    yield "all background", plane(np.zeros((3, 4, 5)))
    yield "no background", Plane(head(2).astype(np.int32), np.ones((7, 21, 19), np.uint8), int(head(2).max()), 0)
    yield "widest noise", plane(rng.integers(0, 2**20, (4, 9, 11)))
    yield "rare and extreme", plane(np.where(rng.random((5, 8, 8)) < 0.02, 2**20 - 1, 0))
    yield "background above", plane(head(3) + np.where(head(3) == 0, 700, 0), 700)
    yield "single slice", plane(head(4, (1, 30, 30)))


@pytest.mark.parametrize("name, original", list(planes()), ids=[name for name, _ in planes()])
def test_planes_come_back_alone_and_given_others(name, original):
    other = plane(np.roll(original.levels, 1, -1) // 2)
    grey = plane(original.levels // 64)
    for given in (Given([]), Given([grey]), Given([grey, other, other, other])):
        data = codec.encode(original, given)
        copy = codec.decode(data, original.levels.shape, given)
        np.testing.assert_array_equal(copy.levels, original.levels)
        np.testing.assert_array_equal(copy.content, original.content)
        assert (copy.top, copy.background) == (original.top, original.background)


def test_bytes_do_not_depend_on_threads(monkeypatch):
    monkeypatch.setattr(codec, "SLAB_CONTENT", 400)
    original, given = plane(head(1)), Given([plane(head(2))])
    several = codec.encode(original, given)
    assert codec.slab_number(several) == codec.slab_count(original) > 2
    monkeypatch.setattr(cores, "usable", lambda: 1)
    assert codec.encode(original, given) == several
    np.testing.assert_array_equal(codec.decode(several, original.levels.shape, given).levels, original.levels)


def test_what_no_encoder_wrote_is_refused_or_harmless():
    original = plane(head(1))
    data, rng = codec.encode(original, Given([])), np.random.default_rng(0)
    for _ in range(40):
        changed = bytearray(data[: rng.integers(1, len(data) + 1)])
        for place in rng.integers(0, len(changed), 3):
            changed[place] = rng.integers(256)
        try:
            copy = codec.decode(bytes(changed), original.levels.shape, Given([]))
        except ValueError:
            continue
        assert copy.levels.min() >= 0 and copy.levels.max() <= copy.top < 2**20
