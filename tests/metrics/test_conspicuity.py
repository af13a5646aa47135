"""Conspicuity against SciPy and NumPy: the values, ties, what is empty or constant, and pooling by grey levels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from fusioninn_jax import metrics
from fusioninn_jax.metrics import conspicuity
from tests import tolerances
from tests.metrics.pictures import disc, picture, triple

SHAPE = (3, 48, 45, 1)


def _regions(seed, shape=SHAPE, share=0.1):
    """A region and a reference of the disc, which share no pixel."""
    region = (np.random.default_rng(seed).random(shape) < share) & disc(shape)
    return region, disc(shape) & ~region


def _mann_whitney(image, region, reference):
    result = scipy.stats.mannwhitneyu(image[region].astype(float), image[reference].astype(float))
    return result.statistic / (region.sum() * reference.sum())


def _cnr(image, region, reference):
    image = image.astype(float)
    return (image[region].mean() - image[reference].mean()) / image[reference].std()


@pytest.mark.parametrize("levels", [None, 255, 4])
def test_auc_is_mann_whitney_s_with_ties_at_a_half(levels):
    region, reference = _regions(0)
    image = picture(1, SHAPE) + np.float32(0.05) * region
    image = image if levels is None else (np.round(image * levels) / levels).astype(np.float32)
    expected = [_mann_whitney(*of) for of in zip(image, region, reference, strict=True)]
    np.testing.assert_allclose(metrics.auc(image, region, reference), expected, atol=tolerances.METRIC_F64)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(0.01, 0.9))
def test_auc_of_any_small_image(seed, levels, share):
    rng, shape = np.random.default_rng(seed), (1, 6, 7, 1)
    image = (rng.integers(0, levels + 1, shape) / 7).astype(np.float32)
    region, reference = rng.random(shape) < share, rng.random(shape) < share
    found = metrics.auc(image, region, reference)
    if region.any() and reference.any():
        np.testing.assert_allclose(found, [_mann_whitney(image, region, reference)], atol=tolerances.METRIC_F64)
    else:
        assert np.isnan(found).all()


def test_auc_does_not_depend_on_gain_and_offset_and_turns_round_with_the_contrast():
    region, reference = _regions(1)
    image = picture(1, SHAPE) + np.float32(0.1) * region
    of_image = metrics.auc(image, region, reference)
    np.testing.assert_allclose(metrics.auc(0.5 * image + 0.125, region, reference), of_image, atol=tolerances.COARSE)
    np.testing.assert_allclose(metrics.auc(1 - image, region, reference), 1 - of_image, atol=tolerances.COARSE)
    np.testing.assert_allclose(metrics.auc(image, reference, region), 1 - of_image, atol=tolerances.METRIC_F64)


def test_a_raw_image_outside_the_range_is_ranked_as_it_is():
    image = np.array([-0.5, 0.2, 1.5, 1.2, 0.3, -0.1], np.float32).reshape(1, 2, 3, 1)
    region = np.array([0, 0, 1, 1, 0, 0], bool).reshape(1, 2, 3, 1)
    assert float(metrics.auc(image, region, ~region)[0]) == 1


def test_contrast_to_noise_is_numpy_s():
    region, reference = _regions(2)
    image = picture(1, SHAPE) + np.float32(0.1) * region
    expected = [_cnr(*of) for of in zip(image, region, reference, strict=True)]
    np.testing.assert_allclose(
        metrics.contrast_to_noise(image, region, reference), expected, rtol=tolerances.METRIC_F32
    )


@pytest.mark.parametrize("measure, chance", [(metrics.auc, 0.5), (metrics.contrast_to_noise, 0.0)])
def test_constant_images_show_nothing_and_empty_regions_say_nothing(measure, chance):
    region, reference = _regions(3)
    constant = np.full(SHAPE, 0.4, np.float32)
    np.testing.assert_allclose(measure(constant, region, reference), chance, atol=tolerances.COARSE)
    nothing = np.zeros(SHAPE, bool)
    image = picture(1, SHAPE)
    assert np.isnan(measure(image, nothing, reference)).all()
    assert np.isnan(measure(image, region, nothing)).all()
    half = region & (np.arange(3) != 1)[:, None, None, None]
    assert np.isnan(measure(image, half, reference)).tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["auc", "contrast_to_noise"])
def test_grey_levels_of_several_slices_added_up_pool_their_pixels(name):
    region, reference = _regions(4)
    gains = np.float32([1, 0.6, 0.8])[:, None, None, None]
    image = np.asarray(jnp.round(255 * gains * picture(1, SHAPE)) / 255)
    of_region, of_reference = (conspicuity.grey_levels(image, mask) for mask in (region, reference))
    np.testing.assert_array_equal(of_region.sum(-1), region.sum((1, 2, 3)))
    of_levels = getattr(conspicuity, f"{name}_of_levels")
    np.testing.assert_allclose(
        of_levels(of_region, of_reference), getattr(metrics, name)(image, region, reference), rtol=tolerances.METRIC_F32
    )
    expected = {"auc": _mann_whitney, "contrast_to_noise": _cnr}[name](image, region, reference)
    np.testing.assert_allclose(of_levels(of_region.sum(0), of_reference.sum(0)), expected, rtol=tolerances.METRIC_F32)
    assert np.isnan(of_levels(0 * of_region, of_reference)).all()


def test_grey_levels_round_and_clip_as_a_png_does():
    image = np.array([-0.2, 0.0, 0.5, 0.7501, 1.0, 1.3], np.float32).reshape(1, 2, 3, 1)
    found = np.flatnonzero(conspicuity.grey_levels(image, np.ones_like(image, bool))[0])
    assert found.tolist() == [0, 128, 191, 255]
    assert conspicuity.grey_levels(image, np.ones_like(image, bool))[0, 255] == 2


def test_relative_measures_the_distance_from_chance():
    found = conspicuity.relative(
        jnp.array([0.8, 0.1]), jnp.array([[0.9, 0.4], [0.3, 0.7]]), jnp.array([0.7, 0.6]), chance=0.5
    )
    # the second shows the region as darker
    np.testing.assert_allclose(found.over_best, [-0.1, 0.2], atol=tolerances.ROUNDING_F32)
    np.testing.assert_allclose(found.over_mean, [0.1, 0.3], atol=tolerances.ROUNDING_F32)


def test_other_brain_holds_no_annotated_pixel_of_any_part():
    brain = np.array([1, 1, 1, 1, 0], bool).reshape(1, 1, 5, 1)
    labels = np.array([0, 1, 2, 4, 0], np.uint8).reshape(1, 1, 5, 1)
    assert conspicuity.other_brain(brain, labels).ravel().tolist() == [True, False, False, False, False]


def test_fairness_is_the_worse_ssim_of_any_number_of_sources():
    x1, x2, fused = triple(SHAPE)
    x3 = picture(7, SHAPE)
    each = np.stack([metrics.decomposition_ssim(x, fused, mask=disc(SHAPE)) for x in (x1, x2, x3)])
    np.testing.assert_allclose(
        metrics.fairness(x1, x2, fused, mask=disc(SHAPE)), each[:2].min(0), rtol=tolerances.SUM_F32
    )
    np.testing.assert_allclose(
        metrics.fairness(x1, x2, x3, fused, mask=disc(SHAPE)), each.min(0), rtol=tolerances.SUM_F32
    )
    assert (metrics.fairness(x1, x2, fused) < metrics.q_ssim(x1, x2, fused)).all()
    with pytest.raises(ValueError, match="one source at least"):
        metrics.fairness(fused)


@pytest.mark.parametrize("measure", [metrics.auc, metrics.contrast_to_noise, conspicuity.auc_of_levels])
def test_measures_work_inside_jit(measure):
    region, reference = _regions(5)
    arguments = (picture(1, SHAPE), region, reference)
    if measure is conspicuity.auc_of_levels:
        arguments = (jnp.arange(512).reshape(2, 256), jnp.ones((2, 256)))
    np.testing.assert_allclose(jax.jit(measure)(*arguments), measure(*arguments), rtol=tolerances.ROUNDING_F32)


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"image": picture(1, SHAPE) * 255}, "0..255"),
        ({"region": np.ones((1, 4, 4, 1), bool)}, "mask has shape"),
        ({"reference": np.ones((1, 4, 4, 1), bool)}, "mask has shape"),
    ],
)
def test_bad_arguments_are_named(bad, message):
    region, reference = _regions(6)
    for measure in (metrics.auc, metrics.contrast_to_noise):
        with pytest.raises(ValueError, match=message):
            measure(**{"image": picture(1, SHAPE), "region": region, "reference": reference} | bad)
