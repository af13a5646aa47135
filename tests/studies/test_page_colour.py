"""studies.page_colour: chroma as bytes beside the luma of a page, and painted into a figure."""

import numpy as np

from fusioninn_jax.formats import colour
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.studies import page_colour
from tests.formats.picture_cases import SIZE, coloured, grey

BOX = (slice(0, 1), slice(2, 12), slice(1, 9))


def series(pixels):
    luma, chroma = (pixels[None], None) if pixels.ndim == 2 else colour.split(pixels)
    return uniform(luma, PIXELS, {"kind": "picture"})._replace(chroma=chroma)


def test_bytes_of_a_tint_say_what_the_chroma_is():
    chroma = colour.split(coloured(1))[1].values
    tint = page_colour.tint(chroma)
    assert tint.blue.shape == tint.red.shape == (1, *SIZE) and tint.span == np.abs(chroma).max()
    back = (np.stack([tint.blue, tint.red], -1).astype(float) - page_colour.MIDDLE) / page_colour.MIDDLE * tint.span
    assert np.abs(back - chroma).max() <= 0.501 * tint.span / page_colour.MIDDLE
    assert page_colour.tint(0 * chroma).span == 1 and (page_colour.tint(0 * chroma).red == page_colour.MIDDLE).all()


def test_panels_that_are_grey_have_no_tint():
    sources = [series(coloured(1)), series(grey(2))]
    chroma = page_colour.of_sources(sources, BOX)
    assert chroma[0].shape == (1, 10, 8, 2) and chroma[1] is None
    fused = page_colour.of_fused(sources, sources[1].values[BOX] / 255, BOX)
    assert fused.shape == (1, 10, 8, 2)
    assert page_colour.of_fused([sources[1]], fused[..., 0], BOX) is None
    tints = page_colour.tints(chroma, fused, np.arange(1), 2)
    assert set(tints) == {"source-1", "fused"} and tints["fused"].blue.shape == (1, 5, 4)
    assert set(page_colour.packed(tints)) == {f"{name}-{key}" for name in ("blue", "red") for key in tints}


def test_a_picture_is_painted_in_its_own_colours_and_grey_stays():
    pixels = coloured(1)
    luma, chroma = colour.split(pixels)
    painted = page_colour.coloured(luma / 255, chroma.values, 255.0)
    np.testing.assert_allclose(painted[0], pixels / 255, atol=0.5 / 255)
    unit = luma / 255
    assert page_colour.coloured(unit, None) is unit
