"""formats.colour: chroma beside luma, shared between sources, noted in a record and back."""

import json

import numpy as np
import pytest

from fusioninn_jax.formats import colour, image_io
from fusioninn_jax.runtime.guarded import Damaged
from tests import tolerances
from tests.formats.picture_cases import SIZE, coloured, grey

WHITE = 65535


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_colours_come_back_from_luma_and_a_note(dtype):
    pixels = coloured(1, "u2" if dtype == "f4" else dtype).astype(dtype)
    luma, chroma = colour.split(pixels)
    assert luma.shape == (1, *SIZE) and luma.dtype == np.float32
    noted = colour.from_note(json.loads(json.dumps(colour.note(chroma))), luma.shape)
    back = colour.join(luma[0], noted)
    assert back.dtype == pixels.dtype
    np.testing.assert_allclose(back, pixels, atol=WHITE * tolerances.SUM_F32 if dtype == "f4" else 0)


@pytest.mark.parametrize("change", [{"data": "?"}, {"data": ""}], ids=["no base64", "too short"])
def test_a_note_that_is_none_is_damaged(change):
    noted = colour.note(colour.split(coloured(1))[1])
    with pytest.raises(Damaged):
        colour.from_note(noted | change, (1, *SIZE))


@pytest.mark.parametrize(
    "dtype, brightest, white", [("|u1", 9, 255), ("<u2", 9, WHITE), ("<f4", 1, 1), ("<f4", 9, 255), ("<f4", 300, WHITE)]
)
def test_white_is_the_largest_integer_or_what_floats_need(dtype, brightest, white):
    assert colour.Chroma(np.zeros((1, 2, 2, 2)), dtype).white(np.full((1, 2, 2), brightest)) == white


def test_the_luma_of_a_painted_image_is_that_of_the_fused_one():
    rng = np.random.default_rng(0)
    luma, chroma = rng.random(SIZE), rng.uniform(-0.5, 0.5, (*SIZE, 2))
    painted = image_io.luma_chroma(colour.paint(luma, chroma))[0]
    np.testing.assert_allclose(painted / WHITE, luma, atol=1 / WHITE)


def test_two_coloured_sources_share_by_the_weighted_rule():
    one = colour.split(coloured(1))[1]
    other = colour.Chroma(-0.5 * one.values, one.dtype)
    none = colour.Chroma(0 * one.values, one.dtype)
    lumas = [grey(1).astype("f4")] * 2
    a, b = one.values / 255, other.values / 255
    np.testing.assert_allclose(
        colour.of_fused([one, other], lumas),
        (a * abs(a) + b * abs(b)) / np.maximum(abs(a) + abs(b), 1e-9),
        atol=tolerances.ROUNDING_F32,
    )
    np.testing.assert_allclose(colour.of_fused([one, none], lumas), a, atol=tolerances.ROUNDING_F32)
    np.testing.assert_array_equal(colour.of_fused([none, none], lumas), 0)
    assert colour.of_fused([None, None], lumas) is None
