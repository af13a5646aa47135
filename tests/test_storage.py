"""What a stored fused image keeps, and that training sees the same."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from fusioninn_jax import storage
from fusioninn_jax.settings import defaults
from tests import tolerances
from tests.golden import portable_inputs


def settings(**changes):
    config = defaults("losses.storage")
    config.update(changes)
    return config


@pytest.fixture(name="fused")
def fused_fixture():
    image = portable_inputs.smooth(3, 2, 21, 30)[:, :1].transpose(0, 2, 3, 1)
    return jnp.asarray(1.1 * image - 0.05, jnp.float32)  # leaves [0, 1] on both sides


KEYS = jax.random.split(jax.random.key(0), 2)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_round_gives_what_a_file_gives(fused, bits):
    stored = storage.simulate(fused, KEYS, settings(kind="round", bits=bits))
    levels = 2**bits - 1
    exact = np.clip(np.asarray(fused, np.float64), 0, 1) * levels
    off = np.abs(np.asarray(stored, np.float64) * levels - np.floor(exact + 0.5))
    tie = np.abs(exact % 1 - 0.5) < 0.02  # float32 may see a tie on its other side
    assert off[~tie].max() < 0.02 and off.max() < 1.02


@pytest.mark.parametrize("kind", ["round", "dither", "jpeg"])
def test_gradients_pass_inside_the_range_only(fused, kind):
    gradient = jax.grad(lambda x: storage.simulate(x, KEYS, settings(kind=kind)).sum())(fused)
    outside = (fused < 0) | (fused > 1)
    assert outside.any() and not gradient[outside].any()
    if kind != "jpeg":  # a transform mixes the pixels of a block
        np.testing.assert_array_equal(gradient[~outside], 1)


def test_dither_is_uniform_noise_of_one_level(fused):
    noise = storage.simulate(fused, KEYS, settings(kind="dither")) - jnp.clip(fused, 0, 1)
    assert float(jnp.abs(noise).max()) <= tolerances.LEVEL_8BIT
    assert float(noise.std()) == pytest.approx(1 / 255 / np.sqrt(12), rel=tolerances.ESTIMATED)
    assert (noise[0] != noise[1]).any()


def test_float_is_left_alone_and_an_unknown_kind_is_named(fused):
    assert storage.simulate(fused, KEYS, settings(kind="float")) is fused
    with pytest.raises(ValueError, match="must be one of float, round, dither, jpeg"):
        storage.simulate(fused, KEYS, settings(kind="png"))


@pytest.mark.parametrize("quality", [30, 75, 95])
def test_jpeg_is_near_what_a_real_encoder_keeps(fused, quality):
    inside = jnp.clip(fused, 0, 1)
    levels = np.round(np.asarray(inside[..., 0]) * 255).astype(np.uint8)
    ours = np.asarray(storage.jpeg(jnp.asarray(levels[..., None] / 255, jnp.float32), quality))[..., 0] * 255
    for image, kept in zip(levels, ours, strict=True):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=quality)
        theirs = np.asarray(Image.open(file)).astype(float)
        off = np.abs(theirs - np.round(kept)).mean()
        # they transform integers, so now and then a coefficient or a pixel falls on its other side
        assert off < 0.3 and np.abs(theirs - image).mean() > 2 * off
