"""The codec of volumes: every plane comes back exactly, whatever is known; what no encoder wrote does no harm."""

import hashlib

import numpy as np
import pytest

from fusioninn_jax.runtime import cores
from fusioninn_jax.studies.volume_codec import codec, numbers, rule, values
from fusioninn_jax.studies.volume_codec.planes import Given, Plane


def plane(levels, background=0):
    """A plane whose background is one of its levels."""
    levels = np.asarray(levels, np.int32)
    return Plane(levels, (levels != background).astype(np.uint8), int(levels.max()), background)


def head(seed, shape=(7, 21, 19)):
    """Levels in the manner of MRI: a blank rim, smooth content, noise."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    content = 300 + 200 * x - 90 * y * z + 9 * rng.standard_normal(shape)
    return np.where(z**2 + y**2 + x**2 < 1.2, content, 0).astype(int)


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


def test_a_picture_by_a_rule_is_worth_its_bits():
    """The last source must lie where the picture says: known bounds never exclude it, and make it cheaper."""
    sources = [plane(head(seed)) for seed in (1, 2, 3)]
    known = rule.mean_rule([s.levels for s in sources], [s.content for s in sources], 250)
    grey = plane(rule.picture(known, [s.levels for s in sources], [s.content for s in sources]).astype(np.int32))
    assert grey.top <= 250 and (grey.levels[sources[0].content > 0] > 0).all()
    sizes = []
    for chosen in (None, known):
        given = Given([grey, *sources[:-1]], chosen)
        data = codec.encode(sources[-1], given)
        np.testing.assert_array_equal(codec.decode(data, grey.levels.shape, given).levels, sources[-1].levels)
        sizes.append(len(data))
    assert sizes[1] < sizes[0]


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


def test_numbers_come_back_and_no_more_than_asked_for():
    some = np.array([0, -1, 1, -(2**63), 2**63 - 1, 12345])
    np.testing.assert_array_equal(numbers.unpack(numbers.pack(some), 6), some)
    for count in (5, 7):
        with pytest.raises(ValueError, match="another count"):
            numbers.unpack(numbers.pack(some), count)


@pytest.mark.parametrize("dtype", values.TYPES)
def test_stored_values_of_every_type_come_back(dtype):
    rng, kind = np.random.default_rng(0), np.dtype(dtype)
    few = np.where(rng.random((3, 20, 20)) < 0.4, 0, rng.integers(0, 9, (3, 20, 20))).astype(kind)
    if kind.kind == "f":
        wide = rng.standard_normal(few.shape) * 10.0 ** rng.integers(-4, 4, few.shape)
        wide[0, 0, 0] = -0.0
    else:
        limits = np.iinfo(kind)
        wide = rng.integers(limits.min, limits.max, few.shape, kind, endpoint=True)
    for stored in (few, wide.astype(kind), np.where(few > 0, wide, 0).astype(kind), np.full((1, 1, 1), 7, kind)):
        coded = values.to_plane(stored)
        assert 0 <= coded.plane.levels.min() and coded.plane.levels.max() == coded.plane.top < 2**20
        copy = values.from_plane(coded.plane, coded.facts, coded.beside, kind)
        assert copy.dtype == kind and copy.tobytes() == stored.tobytes()


def test_the_tables_of_the_coder_are_the_same_everywhere():
    """Another digest would be another format: archives written elsewhere could not be read."""
    from fusioninn_jax.studies.volume_codec import coder, residual

    tables = (coder.SQUASH, coder.STRETCH, coder.MOVES, residual.LOG)
    tables = b"".join(table.astype("<i8").tobytes() for table in tables)
    assert hashlib.sha256(tables).hexdigest()[:16] == "6e97adfa53993c9c"
