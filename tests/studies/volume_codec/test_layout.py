"""Planes with margins: which neighbours predict a voxel, and what stands in the background."""

import numpy as np

from fusioninn_jax.studies.volume_codec import layout
from fusioninn_jax.studies.volume_codec.layout import BEFORE, BEHIND, KNOWN, MARGIN, OWN


def test_differences_lead_to_the_neighbours():
    shape, planes = (5, 9, 11), 2
    places = np.arange(planes * np.prod(shape)).reshape(planes, *shape)
    near, (z, y, x) = layout.neighbours(shape, planes), (3, 4, 5)
    place = places[0, z, y, x]
    np.testing.assert_array_equal(place + near.own, [places[0, z + a, y + b, x + c] for a, b, c in OWN])
    known = [places[k, z + a, y + b, x + c] for k in range(planes) for a, b, c in KNOWN]
    np.testing.assert_array_equal(place + near.known, known)
    reference = [places[k, z - (offset == (0, 0, 0)), y, x] for k in range(planes) for offset in KNOWN]
    np.testing.assert_array_equal(place + near.reference, reference)
    assert len(set(near.adapted)) == len(near.adapted) and near.adapted.max() < len(OWN) + planes * len(KNOWN)


def test_every_voxel_is_predicted_from_what_is_decoded_before_it():
    assert all(offset < (0, 0, 0) for offset in OWN)
    assert max(abs(step) for offset in (*OWN, *KNOWN) for step in offset[1:]) <= MARGIN
    assert min(offset[0] for offset in OWN) >= -BEFORE and max(offset[0] for offset in KNOWN) <= BEHIND


def test_background_takes_the_mean_of_what_stands_beside_it():
    levels = np.array([[[8, 0, 4], [2, 0, 0]], [[0, 6, 0], [0, 0, 0]]], np.int32)
    own, content = layout.padded(levels), layout.padded(levels > 0, np.uint8)
    layout.fill(own, content)
    inside = own[BEFORE:-BEHIND, MARGIN:-MARGIN, MARGIN:-MARGIN]
    # left, above, right above, the slice before; what was filled before counts too
    np.testing.assert_array_equal(inside[0], [[8, 8, 4], [2, (2 + 8 + 4) // 3, (4 + 4) // 2]])
    np.testing.assert_array_equal(inside[1, 0], [8, 6, (6 + 4) // 2])


def test_without_content_nothing_stands():
    own = layout.padded(np.zeros((1, 2, 2), int))
    layout.fill(own, np.zeros(own.shape, np.uint8))
    assert not own.any()
