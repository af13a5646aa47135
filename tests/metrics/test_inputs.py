"""What a metric refuses, what it says then, and what it makes of the rest."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fusioninn_jax import metrics
from fusioninn_jax.metrics import _inputs, q_ncie, q_p, q_ssim, q_xy
from tests import tolerances
from tests.metrics.pictures import picture, triple

SHAPE = (2, 12, 14, 1)
IMAGE = picture(1, SHAPE)


@pytest.mark.parametrize(
    "bad, message",
    [
        (IMAGE * 255, "looks like a 0..255 image; divide it by 255"),
        (np.round(IMAGE * 255).astype(np.uint8), "uint8; give floats"),
        (IMAGE * 3, "outside [0, 1]; scale or clip it"),
        (IMAGE - 0.5, "outside [0, 1]; scale or clip it"),
        (IMAGE / 255, "divided by 255 once more"),
        (np.where(IMAGE > 0.5, np.nan, IMAGE), "NaN or infinite"),
        (np.where(IMAGE > 0.5, -np.inf, IMAGE), "NaN or infinite"),
        (IMAGE[:, :-1], "x2 has shape (2, 11, 14, 1) but x1 has (2, 12, 14, 1)"),
        (IMAGE[0, ..., 0], "give (B, H, W, 1) or (B, H, W)"),
        (np.repeat(IMAGE, 3, axis=-1), "give (B, H, W, 1) or (B, H, W)"),
        (IMAGE[:0], "no pixel in it"),
    ],
)
def test_bad_image_is_named_and_explained(bad, message):
    with pytest.raises(ValueError) as caught:
        _inputs.prepare({"x1": IMAGE, "x2": bad})
    assert message in str(caught.value) and "x2" in str(caught.value) and "\n" not in str(caught.value)


IMAGES = ("image", "x1", "x2", "fused", "source", "decomposed", "reference", "region")


@pytest.mark.parametrize("name", metrics.__all__)
def test_every_metric_works_where_nothing_is_promoted(name):
    metric = getattr(metrics, name)
    asked = inspect.signature(metric).parameters if callable(metric) else {}
    needed = [of.name for of in asked.values() if of.default is of.empty]
    if not needed or not set(needed) <= set(IMAGES):
        pytest.skip("takes no images")
    images = [np.full((2, 48, 48, 1), 0.5, bool if of in ("region", "reference") else np.float32) for of in needed]
    options = [{}, *[{name: value} for name, value in (("mask", images[0] > 0), ("quantize", False)) if name in asked]]
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        for option in options:
            assert jax.eval_shape(lambda chosen=option: metric(*images, **chosen)) is not None


def test_image_under_the_window_is_refused():
    with pytest.raises(ValueError, match="images of 12x14 are smaller than the metric's 13x13 window"):
        _inputs.prepare({"x1": IMAGE}, window=13)
    _inputs.prepare({"x1": IMAGE}, window=12)


def test_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="mask has shape"):
        _inputs.prepare({"x1": IMAGE}, mask=np.ones((2, 12, 13), bool))


def test_images_and_mask_come_back_in_one_layout():
    diagonal = np.stack([np.eye(12, 14)] * 2)
    (x1, x2), mask = _inputs.prepare({"x1": IMAGE[..., 0], "x2": IMAGE.astype(np.float16)}, mask=diagonal)
    assert x1.shape == x2.shape == mask.shape == SHAPE
    assert x1.dtype == x2.dtype == jnp.float32 and mask.dtype == bool
    np.testing.assert_array_equal(x1, IMAGE)
    np.testing.assert_array_equal(mask[1, ..., 0], np.eye(12, 14, dtype=bool))


def test_black_images_and_rounding_over_one_pass():
    _inputs.prepare({"x1": np.zeros_like(IMAGE), "x2": np.full_like(IMAGE, 1 + 1e-6)})


def test_raw_network_output_may_leave_the_range_but_not_be_8_bit():
    raw = 3 * IMAGE - 1
    _inputs.prepare({"fused": raw}, raw=("fused",))
    for bad in (IMAGE * 255, IMAGE * 255 - 100):
        with pytest.raises(ValueError, match="fused has values in"):
            _inputs.prepare({"fused": bad}, raw=("fused",))


def test_values_are_not_looked_at_under_a_tracer_but_shapes_are():
    out_of_range = jax.jit(lambda image: _inputs.prepare({"x1": image})[0][0])(IMAGE * 3)
    np.testing.assert_array_equal(out_of_range, IMAGE * 3)
    with pytest.raises(ValueError, match="smaller than"):
        jax.jit(lambda image: _inputs.prepare({"x1": image}, window=50)[0][0])(IMAGE)
    jax.vmap(lambda image: _inputs.prepare({"x1": image[None]})[0][0])(IMAGE)


def test_8_bit_rounds_halves_up_and_clips():
    levels = _inputs.to_8bit(jnp.array([0.0, 0.49, 0.5, 1.5, 2.5, 254.6, 255.0, 300.0, -4.0]) / 255)
    np.testing.assert_array_equal(levels, [0, 0, 1, 2, 3, 255, 255, 255, 0])
    np.testing.assert_allclose(
        _inputs.to_8bit(jnp.array([0.3, 1.2]), quantize=False), [76.5, 306], rtol=tolerances.ROUNDING_F32
    )


@pytest.mark.parametrize("metric", [q_ssim, q_ncie, q_p, q_xy])
def test_metrics_give_the_same_inside_jit(metric):
    images = triple(SHAPE)
    np.testing.assert_allclose(jax.jit(metric)(*images), metric(*images), rtol=0, atol=tolerances.METRIC_F64)


@pytest.mark.parametrize("metric", [q_ssim, q_ncie, q_p, q_xy])
def test_metrics_refuse_an_unknown_variant_and_8_bit_images(metric):
    images = triple(SHAPE)
    with pytest.raises(ValueError, match="unknown variant 'official'; choose one of toolbox, fusioninn"):
        metric(*images, variant="official")
    with pytest.raises(ValueError, match="fused has values in .* divide it by 255"):
        metric(*images[:2], images[2] * 255)
