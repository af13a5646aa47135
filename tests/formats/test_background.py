"""formats.background: the value of the border tells the background; what is darker stays, and comes back."""

import numpy as np
import pytest

from fusioninn_jax.formats import background
from fusioninn_jax.runtime.errors import UserError


def head(seed=0, shape=(6, 40, 36)):
    """(raw volume (Z, H, W) with a smooth ellipse of tissue in a background of 0, mask of the tissue)."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    inside = (y / 0.8) ** 2 + (x / 0.7) ** 2 < 1
    tissue = 400 + 300 * np.sin(3 * x + z) * np.cos(4 * y) + np.random.default_rng(seed).normal(0, 20, shape)
    return np.where(inside, np.maximum(tissue, 1), 0).astype(np.float32), inside


def z_scored(raw, inside, background_value=0.0):
    brain = raw[inside]
    return np.where(inside, (raw - brain.mean()) / brain.std(), background_value).astype(np.float32)


@pytest.mark.parametrize("value", [0.0, -0.3, 0.5, 1e-3])
def test_a_background_amid_the_brain_is_found_moved_and_restored(value):
    raw, inside = head()
    volume = z_scored(raw, inside, value)
    found = background.find(volume)
    assert found.value == pytest.approx(value) and found.is_moved
    dark = background.darkened(volume, found)
    np.testing.assert_array_equal(dark[inside], volume[inside])
    assert dark[~inside].max() < dark[inside].min() and np.ptp(dark[~inside]) == 0
    np.testing.assert_array_equal(background.restored(dark, found), volume)
    noisy = dark + np.random.default_rng(1).uniform(-0.004, 0.004, dark.shape).astype(np.float32) * np.ptp(dark)
    back = background.restored(noisy, found)
    assert (back[~inside] == np.float32(value)).all() and (back[inside] != np.float32(value)).mean() > 0.99


KINDS = {
    "raw": (lambda raw, inside: raw, 0.0),
    "an offset": (lambda raw, inside: raw + 5, 5.0),
    "CT": (lambda raw, inside: raw - 1024, -1024.0),
    "between -1 and 1": (lambda raw, inside: raw / 400 - 1, -1.0),
    "z-scored with its background": (lambda raw, inside: (raw - raw.mean()) / raw.std(), None),
}


@pytest.mark.parametrize("change, value", KINDS.values(), ids=KINDS)
def test_a_background_below_the_brain_stays(change, value):
    volume = change(*head()).astype(np.float32)
    found = background.find(volume)
    assert not found.is_moved and found.value == pytest.approx(volume.min() if value is None else value)
    assert background.darkened(volume, found) is volume and background.restored(volume, found) is volume


def test_an_inverted_volume_gets_a_dark_background():
    raw, inside = head()
    found = background.find(1000 - raw)
    assert found.value == 1000 and found.is_moved
    assert background.darkened(1000 - raw, found)[~inside].max() < (1000 - raw)[inside].min()


def test_undershoot_of_resampling_moves_nothing():
    raw, inside = head()
    ringing = raw.copy()
    ringing[:, 3:5, 10:14] = -30  # a few per cent of the height, outside of the brain
    ringing[0, 20, 18] = -200
    assert not background.find(ringing).is_moved


@pytest.mark.parametrize(
    "volume",
    [
        np.random.default_rng(0).normal(size=(4, 20, 20)),
        np.zeros((2, 8, 8)),
        np.random.default_rng(0).integers(1, 900, (4, 16, 16)),
    ],
    ids=["noise", "constant", "whole numbers"],
)
def test_without_a_background_none_is_found(volume):
    assert background.find(volume.astype(np.float32)) is None


def test_a_frame_round_a_picture_is_no_background():
    volume = np.random.default_rng(0).normal(5, 1, (3, 60, 60)).astype(np.float32)
    volume[:, 0] = volume[:, -1] = volume[:, :, 0] = volume[:, :, -1] = 5
    assert background.find(volume) is None


def test_doubt_is_an_error_that_names_the_option():
    raw, inside = head()
    volume = z_scored(raw, inside)
    noise = np.random.default_rng(0).normal(size=volume.shape).astype(np.float32)
    volume[:, :, :13] = np.where(inside, volume, noise)[:, :, :13]  # the border is constant for a part only
    volume[:, :16] = np.where(inside, volume, noise)[:, :16]
    with pytest.raises(UserError, match=r"flair.nii: \d+% of its border is 0, .*Give --background=0, or .*=minimum"):
        background.find(volume, name="flair.nii")
    assert background.find(volume, 0.0).is_moved
    assert not background.find(volume, background.MINIMUM).is_moved
    with pytest.raises(UserError, match="no voxel is 77, which --background names"):
        background.find(volume, 77.0)


@pytest.mark.parametrize("text, value", [("auto", "auto"), ("minimum", "minimum"), ("-0.5", -0.5), ("1e3", 1000.0)])
def test_options_are_parsed(text, value):
    assert background.parse(text) == value


@pytest.mark.parametrize("text", ["", "nan", "inf", "dark", "0,1"])
def test_bad_options_are_named(text):
    with pytest.raises(UserError, match="give auto, minimum or a number"):
        background.parse(text)


def test_noise_about_a_background_amid_the_brain_is_asked_about():
    raw, inside = head()
    noise = np.random.default_rng(2).normal(0, 0.02, raw.shape).astype(np.float32)
    volume = np.where(inside, z_scored(raw, inside), noise)
    with pytest.raises(UserError, match="x.nii: its border lies about .* no value of it is .*--background=minimum"):
        background.find(volume, name="x.nii")
    assert not background.find(volume, "minimum").is_moved


def test_noise_below_the_brain_and_a_brain_at_the_border_are_no_background():
    raw, inside = head()
    noise = np.abs(np.random.default_rng(2).normal(0, 9, raw.shape)).astype(np.float32)
    assert background.find(np.where(inside, raw, noise)) is None
    assert background.find(z_scored(raw, inside)[:, 8:30, 8:28]) is None
