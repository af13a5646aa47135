"""Stored voxels of every type as planes, and back."""

import numpy as np
import pytest

from fusioninn_jax.studies.volume_codec import values


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
