"""Planes: the box of what is coded, and slabs that see no slice before them."""

import numpy as np

from fusioninn_jax.studies.volume_codec import planes
from fusioninn_jax.studies.volume_codec.layout import BEFORE, BEHIND, MARGIN
from fusioninn_jax.studies.volume_codec.planes import Given, Margined
from tests.studies.volume_codec.planes_of_heads import head, plane


def test_a_plane_is_cut_to_its_content_and_put_back():
    levels = np.zeros((6, 9, 8), int)
    levels[2:4, 1:6, 3] = 7
    whole = plane(levels)
    box = planes.box_of(whole.content)
    assert planes.edges_of(box) == [2, 4, 1, 6, 3, 4]
    inside = planes.cropped(whole, box)
    assert inside.levels.shape == (2, 5, 1) and inside.content.all()
    back = planes.uncropped(inside, box, whole.levels.shape)
    np.testing.assert_array_equal(back.levels, whole.levels)
    np.testing.assert_array_equal(back.content, whole.content)
    assert planes.edges_of(planes.box_of(np.zeros((3, 4, 5)))) == [0, 1] * 3  # one voxel at least


def test_a_slab_holds_its_slices_and_what_is_decoded_is_kept():
    whole, known = plane(head(1)), plane(head(2))
    margined = Margined(whole, Given([known]))
    slab = margined.slab(2, 5)
    own, content = (part.reshape(slab.shape) for part in (slab.own, slab.content))
    assert not content[:BEFORE].any() and not content[-BEHIND:].any()  # nor what lies before them
    inside = (slice(BEFORE, -BEHIND), slice(MARGIN, -MARGIN), slice(MARGIN, -MARGIN))
    np.testing.assert_array_equal(own[inside], whole.levels[2:5])
    np.testing.assert_array_equal(content[inside], whole.content[2:5])
    empty = Margined(whole._replace(levels=0 * whole.levels, content=0 * whole.content), Given([known]))
    empty.take(2, slab)
    np.testing.assert_array_equal(empty.plane().levels[2:5], whole.levels[2:5])
    assert not empty.plane().content[[0, 1, 5, 6]].any()
