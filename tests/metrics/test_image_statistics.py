"""SD, SF, AG, CC and SCD against NumPy, their limits, and the gradients that quantize=False keeps."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from jax.test_util import check_grads

from fusioninn_jax.metrics import image_statistics as of
from tests import tolerances
from tests.metrics.pictures import SHAPE, disc, grey_levels, images, picture, triple
from tests.tolerances import METRIC_F32, METRIC_F64

EXAMPLES = settings(max_examples=25, deadline=None)
GRADIENT_F64 = 1e-3  # finite differences across near-kinks
NO_REFERENCE = [of.standard_deviation, of.spatial_frequency, of.average_gradient]
REFERENCED = [of.correlation, of.scd]


def sd_reference(y, inside):
    return y[inside].std()


def sf_reference(y, inside):
    total = 0.0
    for axis in (0, 1):
        valid = np.take(inside, range(1, y.shape[axis]), axis) & np.take(inside, range(y.shape[axis] - 1), axis)
        total += np.mean(np.diff(y, axis=axis)[valid] ** 2)
    return np.sqrt(total)


def ag_reference(y, inside):
    values = [
        np.sqrt(((y[i + 1, j] - y[i, j]) ** 2 + (y[i, j + 1] - y[i, j]) ** 2) / 2)
        for i in range(y.shape[0] - 1)
        for j in range(y.shape[1] - 1)
        if inside[i, j] and inside[i + 1, j] and inside[i, j + 1]
    ]
    return np.mean(values)


def pearson(a, b, inside):
    return np.corrcoef(a[inside], b[inside])[0, 1]


def cc_reference(a, b, y, inside):
    return (pearson(a, y, inside) + pearson(b, y, inside)) / 2


def scd_reference(a, b, y, inside):
    return pearson(y - b, a, inside) + pearson(y - a, b, inside)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("quantize", [True, False])
def test_against_numpy(masked, quantize):
    batch = triple()
    mask = disc() if masked else None
    a, b, y = (grey_levels(x) if quantize else 255.0 * x.astype(np.float64) for x in batch)
    options = {"mask": mask, "quantize": quantize}
    references = [sd_reference, sf_reference, ag_reference, cc_reference, scd_reference]
    scores = [f(batch[2], **options) for f in NO_REFERENCE] + [f(*batch, **options) for f in REFERENCED]
    for i in range(SHAPE[0]):
        inside = disc()[i, ..., 0] if masked else np.ones(SHAPE[1:3], bool)
        for reference, score in zip(references, scores, strict=True):
            arguments = (y,) if reference in references[:3] else (a, b, y)
            expected = reference(*(x[i, ..., 0] for x in arguments), inside)
            np.testing.assert_allclose(score[i], expected, rtol=METRIC_F32, err_msg=reference.__name__)


@pytest.mark.parametrize("metric", NO_REFERENCE + REFERENCED, ids=lambda f: f.__name__)
def test_float32_agrees_with_float64(metric):
    arguments = triple()[2:] if metric in NO_REFERENCE else triple()
    single = metric(*arguments)
    with jax.enable_x64(True):
        double = metric(*(x.astype(np.float64) for x in arguments))
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=METRIC_F32)


@pytest.mark.parametrize("metric", NO_REFERENCE + REFERENCED, ids=lambda f: f.__name__)
def test_gradient_against_finite_differences(metric):
    with jax.enable_x64(True):
        x1, x2, fused = (picture(seed, (1, 12, 13, 1)).astype(np.float64) for seed in (1, 2, 3))
        fused = 0.2 + 0.6 * fused  # off the corners of |.|
        rng = np.random.default_rng(0)
        fused += 0.05 * rng.random(fused.shape)

        def score(y):
            return metric(y, quantize=False) if metric in NO_REFERENCE else metric(x1, x2, y, quantize=False)

        check_grads(score, (fused,), order=1, modes=["rev"], atol=GRADIENT_F64, rtol=GRADIENT_F64)


@pytest.mark.parametrize("metric", NO_REFERENCE + REFERENCED, ids=lambda f: f.__name__)
def test_gradient_is_finite_on_flat_images(metric):
    flat = np.full((1, 12, 13, 1), 0.5, np.float32)
    x1, x2 = picture(1, flat.shape), picture(2, flat.shape)
    arguments = (x1, x2) if metric in REFERENCED else ()
    gradient = jax.grad(lambda y: metric(*arguments, y, quantize=False).sum())(flat)
    assert np.isfinite(gradient).all()


def test_known_values():
    step = np.zeros((1, 4, 4, 1), np.float32)
    step[:, :, 2:] = 1  # one vertical edge of 255 levels: 4 of 12 differences along rows, none down columns
    np.testing.assert_allclose(of.standard_deviation(step), 127.5)
    np.testing.assert_allclose(of.spatial_frequency(step), 255 * np.sqrt(4 / 12), rtol=METRIC_F32)
    np.testing.assert_allclose(of.average_gradient(step), 255 / np.sqrt(2) * 3 / 9, rtol=METRIC_F32)


def test_a_sum_of_independent_sources_has_the_highest_scd():
    x1, x2 = 0.5 * picture(1), 0.5 * picture(2)
    total = x1 + x2
    np.testing.assert_allclose(of.scd(x1, x2, total, quantize=False), 2, rtol=METRIC_F32)
    assert (of.scd(x1, x2, (x1 + x2) / 2) < of.scd(x1, x2, total)).all()


def test_constant_images_have_defined_values():
    x1, x2, fused = triple()
    constant = np.full(SHAPE, 0.3, np.float32)
    for quantize in (True, False):
        for metric in NO_REFERENCE:
            np.testing.assert_allclose(metric(constant, quantize=quantize), 0, atol=tolerances.COARSE)
            np.testing.assert_array_equal(metric(fused, mask=np.zeros(SHAPE), quantize=quantize), 0)
        np.testing.assert_array_equal(of.correlation(x1, x2, constant, quantize=quantize), 0)
        np.testing.assert_array_equal(of.correlation(constant, constant, constant, quantize=quantize), 0)
        np.testing.assert_array_equal(of.scd(x1, x1, x1, quantize=quantize), 0)
    assert abs(of.scd(x1, x2, x1)[0]) <= 1 + METRIC_F32  # nothing is left of x1 - x1


@EXAMPLES
@given(images(), images(), images())
def test_ranges_symmetry_and_identity(x1, x2, fused):
    assert 0 <= of.standard_deviation(fused)[0] <= 127.5 * (1 + METRIC_F32)
    assert 0 <= of.spatial_frequency(fused)[0] <= 255 * np.sqrt(2) * (1 + METRIC_F32)
    assert 0 <= of.average_gradient(fused)[0] <= 255 * (1 + METRIC_F32)
    for metric, bound in ((of.correlation, 1), (of.scd, 2)):
        score = metric(x1, x2, fused)[0]
        assert -bound <= score <= bound
        np.testing.assert_allclose(score, metric(x2, x1, fused)[0], atol=METRIC_F32)
    identity = of.correlation(fused, fused, fused)[0]
    np.testing.assert_allclose(identity, 0 if np.ptp(fused) == 0 else 1, atol=METRIC_F32)


@EXAMPLES
@given(images())
def test_transposition_and_inversion_change_nothing(image):
    turned, inverted = np.swapaxes(image, 1, 2), 1 - image
    for metric in (of.standard_deviation, of.spatial_frequency, of.average_gradient):
        np.testing.assert_allclose(metric(turned), metric(image), rtol=METRIC_F32)
        if inverted.max() > 2 / 255 or not inverted.any():
            np.testing.assert_allclose(metric(inverted), metric(image), rtol=METRIC_F32, atol=METRIC_F32)


def test_float64_metrics_meet_the_tight_tolerance():
    _, _, fused = triple()
    with jax.enable_x64(True):
        score = of.standard_deviation(fused.astype(np.float64))
    np.testing.assert_allclose(score[0], grey_levels(fused[0]).std(), rtol=METRIC_F64)
