"""studies.packed_volume: every byte of a page comes back."""

import numpy as np

from fusioninn_jax.studies import packed_volume
from tests.studies.page_cases import unpacked


def test_packing_keeps_every_byte():
    rng = np.random.default_rng(0)
    noise, smooth = rng.integers(0, 256, (2, 5, 7)).astype(np.uint8), np.full((1, 4, 4), 255, np.uint8)
    for volume in (noise, smooth):
        packed = packed_volume.pack(volume)
        page = f'<script id="voxels-x">{packed.text}</script>'
        assert packed.coding == "median" and (unpacked(page, "x", volume.shape) == volume).all()
    other = packed_volume.pack(noise, noise[::-1])
    assert (unpacked(f'id="voxels-x">{other.text}<', "x", noise.shape, noise[::-1]) == noise).all()


def test_values_become_levels_and_what_lies_beyond_is_cut_off():
    values = np.array([-0.2, 0, 0.5, 1, 2, 7])
    assert packed_volume.to_bytes(values, 2.0, 100).tolist() == [0, 0, 25, 50, 100, 100]


def test_larger_pixels_are_means_and_what_is_left_over_is_dropped():
    images = np.arange(2 * 5 * 4, dtype=float).reshape(2, 5, 4)
    assert packed_volume.coarse(images, 1) is images
    np.testing.assert_array_equal(packed_volume.coarse(images, 2)[0], [[2.5, 4.5], [10.5, 12.5]])
    assert packed_volume.coarse(np.zeros((1, 6, 6, 2)), 3).shape == (1, 2, 2, 2)
