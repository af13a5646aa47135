"""The latent loss made of sums: formulas, bias, what each term sees, the mask, devices, collectives."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax.latent_losses import characteristic, latent_sums
from tests import tolerances
from tests.chosen import chosen

TERMS = ("pixels", "patches", "tails", "neighbours", "picture", "places", "phases")
terms = jax.jit(characteristic.characteristic_terms)
value_and_gradient = jax.jit(jax.value_and_grad(characteristic.characteristic))
KEY = jax.random.key(9)


# Made by NumPy, which compiles nothing.
def noise(seed=0, shape=(8, 48, 48, 2)):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def picture(seed=1, shape=(8, 48, 48, 1)):
    """Like a fused image: smooth, in [0, 1]."""
    x = noise(seed, shape)
    for axis in (1, 2):
        x = (np.roll(x, 1, axis) + 2 * x + np.roll(x, -1, axis)) / 4
    return 1 / (1 + np.exp(-3 * x))


def disc(shape=(8, 48, 48, 1)):
    """A mask with curved borders, other in each image."""
    batch, height, width, _ = shape
    down, right = np.mgrid[:height, :width] - np.array([height / 2, width / 2])[:, None, None]
    radii = np.linspace(0.25, 0.6, batch)[:, None, None] * height
    return (down**2 + right**2 < radii**2)[..., None]


@pytest.mark.parametrize("shape", [(1, 12, 15, 1), (2, 16, 16, 3)])
def test_expectations_are_those_of_draws_from_the_prior(shape):
    """Mean of each T over 400 draws and directions against the expectation, in standard errors."""
    mask, fused = disc((*shape[:3], 1)), picture(shape=(*shape[:3], 1))

    def of_draw(key):
        draw, directions = jax.random.split(key)
        sums = latent_sums.local_sums(jax.random.normal(draw, shape), fused, mask, directions)
        return characteristic.deviations(sums)

    found = jax.jit(jax.vmap(of_draw))(jax.random.split(jax.random.key(0), 400))
    for name in TERMS:
        value, expected = map(np.asarray, found[name])
        error = (value - expected).mean() / ((value - expected).std() / 20)
        assert abs(error) < 4, f"{name}: {value.mean()} instead of {expected.mean()}"


def test_the_loss_of_the_prior_is_about_zero_from_a_small_batch_to_a_large_one():
    for shape, bound in (((1, 24, 24, 1), 0.3), ((8, 48, 48, 2), 0.05)):  # of 113 pixels the logarithm makes -.15
        mask, fused = disc((*shape[:3], 1)), picture(shape=(*shape[:3], 1))

        @jax.jit
        def of(key, shape=shape, mask=mask, fused=fused):
            return characteristic.characteristic(jax.random.normal(key, shape), fused, mask, key)

        assert abs(np.mean([of(key) for key in jax.random.split(KEY, 24)])) < bound


CHANGES = {
    "pixels": [lambda z, y: z + 0.3, lambda z, y: 1.4 * z, lambda z, y: np.sign(z) * np.abs(z) ** 0.5],
    "patches": [lambda z, y: 0.7 * z, lambda z, y: np.cumsum(z, 2) / np.sqrt(np.arange(1, 49))[:, None]],
    "tails": [
        lambda z, y: np.where(np.abs(z) > 2.5, 2 * z, z),
        lambda z, y: np.clip(z, -1.8, 1.8),
        lambda z, y: z + 0.2 * z**2,
    ],
    "neighbours": [
        lambda z, y: (z + np.roll(z, 1, 1)) / 2**0.5,
        lambda z, y: (z + np.roll(z, (1, -2), (1, 2))) / 2**0.5,
        lambda z, y: np.stack([z[..., 0], 0.8 * z[..., 1] + 0.6 * z[..., 0]], -1),
    ],
    "picture": [
        lambda z, y: z * 2 * y,
        lambda z, y: z + y - 0.5,
        lambda z, y: z * (0.5 + 10 * np.abs(y - np.roll(y, 1, 2))),
    ],
    "places": [
        lambda z, y: z * np.linspace(0.5, 1.4, 8)[:, None, None, None],
        lambda z, y: z + np.where(np.arange(48) < 20, 0.4, -0.3)[:, None, None],
    ],
    "phases": [
        lambda z, y: z + np.where(np.arange(48) % 4 == 1, 0.4, -0.2)[:, None],
        lambda z, y: z * np.where(np.arange(48) % 2 == 1, 1.3, 0.6)[:, None, None],
    ],
}


@jax.jit
def weighed(z, y, mask, key, weights):
    """((weighed sum of the terms, terms), gradient of the sum by z); one program for every choice of terms."""

    def total(z):
        found = characteristic.characteristic_terms(z, y, mask, key)
        return sum(weights[name] * found[name] for name in TERMS), found

    return jax.value_and_grad(total, has_aux=True)(z)


@pytest.mark.parametrize("name,change", [(name, change) for name in CHANGES for change in CHANGES[name]])
def test_each_term_sees_its_departure_and_its_gradient_leads_back(name, change):
    y, mask = picture(), disc()

    def of(z):
        (value, _), gradient = weighed(z, y, mask, KEY, {term: float(term == name) for term in TERMS})
        return value, np.asarray(gradient)

    wrong = change(noise(), y).astype(np.float32)
    value, gradient = of(wrong)
    assert value > 0.3 and abs(of(noise())[0]) < 0.2
    assert of(wrong - 0.01 * gradient / np.abs(gradient).max())[0] < value


def test_the_mask_alone_counts():
    z, y, mask = noise(), picture(), disc()
    all_terms = dict.fromkeys(TERMS, 1.0)
    (_, expected), gradient = weighed(z, y, mask, KEY, all_terms)
    (_, found), _ = weighed(np.where(mask, z, np.float32(50)), y, mask, KEY, all_terms)
    for name in TERMS:
        np.testing.assert_allclose(found[name], expected[name], atol=tolerances.SUM_F32)
    gradient, inside = np.asarray(gradient), np.broadcast_to(mask, z.shape)
    assert (gradient[~inside] == 0).all()
    assert (np.abs(gradient[inside]) > 0).mean() > 0.99


@pytest.mark.parametrize("shape", chosen([(1, 1, 1, 1), (1, 2, 7, 2), (3, 11, 4, 1)], [(1, 1, 1, 1), (1, 2, 7, 2)]))
@pytest.mark.parametrize("filled", [False, True])
def test_any_size_and_an_empty_mask_are_finite(shape, filled):
    mask = np.full((*shape[:3], 1), filled)
    value, gradient = value_and_gradient(noise(0, shape), picture(shape=(*shape[:3], 1)), mask, KEY)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert filled or (value == 0 and (gradient == 0).all())


@pytest.mark.parametrize("size", [0.0, 0.5, 1.0, 30.0])
def test_fused_images_that_are_constant_or_leave_their_range_are_finite(size):
    for fused in (np.full((8, 48, 48, 1), size, np.float32), np.float32(size) * noise(3, (8, 48, 48, 1))):
        value, gradient = value_and_gradient(noise(), fused, disc(), KEY)
        assert np.isfinite(value) and np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", chosen([jnp.bfloat16, jnp.float16], [jnp.bfloat16]))
def test_low_precision_is_summed_in_float32(dtype):
    z, y = noise().astype(dtype), picture().astype(dtype)
    value, gradient = value_and_gradient(z, y, disc(), KEY)
    expected, wide = value_and_gradient(z.astype(np.float32), y.astype(np.float32), disc(), KEY)
    assert value.dtype == jnp.float32 and gradient.dtype == dtype
    np.testing.assert_allclose(value, expected, rtol=tolerances.SUM_F32)
    np.testing.assert_allclose(
        np.float32(gradient), wide, rtol=tolerances.BFLOAT16, atol=tolerances.BFLOAT16 * np.abs(wide).max()
    )


def test_a_batch_of_none_counts_nothing():
    value, gradient = value_and_gradient(noise(0, (0, 8, 8, 2)), picture(shape=(0, 8, 8, 1)), None, KEY)
    assert value == 0 and gradient.shape == (0, 8, 8, 2)


def test_directions_are_drawn_anew_with_the_key():
    z, y = noise(), picture()
    first, same, other = (terms(z, y, None, jax.random.key(seed)) for seed in (0, 0, 1))
    assert first["patches"] == same["patches"] != other["patches"]
    assert first["picture"] != other["picture"] and first["pixels"] == other["pixels"]


def test_descent_makes_an_autocorrelated_heavy_tailed_scaled_latent_normal():
    z = noise(0, (4, 32, 32, 1))
    y, mask = picture(shape=(4, 32, 32, 1)), disc((4, 32, 32, 1))
    wrong = 3 * (z + np.roll(z, 1, 1)) * np.exp(0.5 * noise(5, z.shape)) + 2

    @jax.jit
    def move(z, i):
        gradient = jax.grad(characteristic.characteristic)(z, y, mask, jax.random.fold_in(KEY, i))
        return z - 0.03 * gradient / jnp.sqrt((gradient**2).mean())

    found = wrong
    for i in range(300):
        found = move(found, i)
    found = np.asarray(found)[mask]
    kurtosis = ((found - found.mean()) ** 4).mean() / found.var() ** 2 - 3
    assert abs(found.mean()) < 0.1 and abs(found.std() - 1) < 0.1 and abs(kurtosis) < 0.4


def on_devices(count):
    """(compiled program, loss, gradient by a scale of every place), the batch shared by `count` devices."""
    share = functools.partial(jax.lax.psum, axis_name="devices")

    def step(scale, z, y, mask):
        def loss(scale):
            value = characteristic.characteristic(scale * z + 0.2, y, mask, KEY, share=share)
            return jax.lax.pmean(value, "devices")

        value, gradient = jax.value_and_grad(loss)(scale)
        return value, jax.lax.pmean(gradient, "devices")

    arrays = [x.reshape(count, -1, *x.shape[1:]) for x in (noise(), picture(), disc())]
    scale = np.linspace(0.8, 1.6, 48, dtype=np.float32)[:, None, None]
    mapped = jax.pmap(step, axis_name="devices", devices=jax.devices()[:count], in_axes=(None, 0, 0, 0), out_axes=None)
    program = mapped.lower(scale, *arrays).compile()
    return program.as_text(), *mapped(scale, *arrays)


def test_devices_share_sums_alone_and_agree():
    _, expected, expected_gradient = on_devices(1)
    for count in chosen((2, 4, 8), (4,)):
        program, value, gradient = on_devices(count)
        np.testing.assert_allclose(value, expected, rtol=tolerances.DEVICES)
        np.testing.assert_allclose(
            gradient, expected_gradient, atol=tolerances.DEVICES * np.abs(expected_gradient).max()
        )
        assert "all-reduce" in program
        assert not re.search(r"all-gather|all-to-all|collective-permute|reduce-scatter|\bsort\(", program)
