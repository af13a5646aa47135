"""data.image_pairs.pairing: one scene as arrays, copies told by their pixels."""

import numpy as np
import pytest

from data.image_pairs import pairing
from fusioninn_jax.formats import image_io
from fusioninn_jax.runtime.errors import UserError
from tests import tolerances
from tests.formats.picture_cases import SIZE, coloured, grey, save


def test_a_scene_of_grey_and_colour(tmp_path):
    paths = [save(tmp_path / "a.png", grey(1)), save(tmp_path / "b.tif", coloured(2, "u2"))]
    images = pairing.read_set(paths)
    assert images.sources.shape == (*SIZE, 2) and images.sources.dtype == np.float32
    np.testing.assert_array_equal(images.sources[..., 0], grey(1))
    luma, chroma = image_io.luma_chroma(coloured(2, "u2"))
    np.testing.assert_array_equal(images.sources[..., 1], luma)
    assert images.white == 65535
    np.testing.assert_allclose(images.chroma, chroma, atol=images.white * tolerances.ROUNDING_F32)
    alone = pairing.read_set([paths[0]] * 2)
    assert alone.chroma.shape == (0, 0, 2) and alone.white == 0


def test_negative_pixels_are_named(tmp_path):
    path = save(tmp_path / "a.tif", grey(1).astype("f4") - 100)
    with pytest.raises(UserError, match="a.tif: negative pixels; shift the intensities to start at 0"):
        pairing.read_set([path, path])


def test_copies_have_the_same_digest_and_what_is_constant_has_none(tmp_path):
    paths = [save(tmp_path / f"{i}.png", grey(i)) for i in (1, 2)]
    flat = save(tmp_path / "flat.png", np.full(SIZE, 9, np.uint8))
    copy = save(tmp_path / "copy.tif", grey(1))
    first, second, mixed = (pairing.digests(pairing.read_set(of)) for of in (paths, [copy, flat], [flat, paths[1]]))
    assert len(first) == 2 and second < first and mixed < first and not second & mixed


def test_what_is_beside_the_images_is_told(tmp_path):
    save(tmp_path / "a.png", grey(1))
    (tmp_path / "notes.txt").touch()
    (tmp_path / ".hidden").touch()
    (tmp_path / "more").mkdir()
    told = pairing.passed_over([tmp_path])
    assert told.keys() == {str(tmp_path / "notes.txt"), str(tmp_path / "more")}
    assert told[str(tmp_path / "more")].startswith("a folder within the source")
