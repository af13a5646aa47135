"""What the tests of the five metrics of Table 1 share: golden numbers, and the properties that hold for all five."""

import doctest
import json
import pathlib

import jax
import numpy as np

from tests import tolerances
from tests.chosen import chosen
from tests.golden import portable_inputs
from tests.metrics.pictures import picture, triple

GOLDEN = pathlib.Path(__file__).parents[1] / "golden" / "portable_metrics.json"
SHAPE = (3, 24, 26, 1)
DIFFERENCE_STEP = 1e-7  # of a central difference in float64 on [0, 1]
GRADIENT = 1e-4  # relative; a central difference is no better on a piecewise function


def portable():
    """(x1, x2, fused), each (4, 80, 96) of grey levels, and the golden numbers by name."""
    return np.moveaxis(np.array(portable_inputs.metric_triples()), 1, 0), json.loads(GOLDEN.read_text())


def real(reference):
    """The same on slices of real images: (8, 240, 240)."""
    with np.load(reference / "metrics.npz") as file:
        numbers = dict(file)
    numbers["fmi_rows"], numbers["fmi_cols"] = numbers["fmi_crop_rows"], numbers["fmi_crop_cols"]
    return np.stack([numbers[name] for name in ("x1", "x2", "fused")]), numbers


def assert_golden(metric, levels, expected, *, float64):
    """The metric of grey levels / 255, in either precision, is the expected numbers."""
    with jax.enable_x64(float64):
        dtype = np.float64 if float64 else np.float32
        scores = metric(*((image / 255).astype(dtype) for image in levels))
        assert scores.dtype == dtype
    tolerance = tolerances.METRIC_F64 if float64 else tolerances.METRIC_F32
    np.testing.assert_allclose(scores, expected, rtol=0, atol=tolerance)


def assert_shared_properties(metric):
    """One score per image whatever batch it comes in; jit, layout, and a mask of everything change nothing."""
    images = triple(SHAPE)
    scores = np.asarray(metric(*images))
    assert scores.shape == (SHAPE[0],) and len(set(scores.tolist())) == SHAPE[0]

    def assert_same(others, expected=scores):
        np.testing.assert_allclose(others, expected, rtol=0, atol=tolerances.METRIC_F32 / 10)

    order = [2, 0, 1]
    assert_same(metric(*(image[order] for image in images)), scores[order])
    assert_same(metric(*(image[[1, 1, 1]] for image in images)), scores[1])  # it does not look at the others
    assert_same(metric(*(image[..., 0] for image in images)))
    assert_same(metric(*images, mask=np.ones(SHAPE, bool)))
    assert_same(metric(*images, mask=np.ones(SHAPE[:3], np.uint8)))
    for eager in chosen([False, True], [False]):  # each operation compiled apart: a second and more
        with jax.disable_jit(eager):
            assert_same(metric(images[1], images[0], images[2]))  # every one of the five is symmetric in the sources
    empty = metric(*images, mask=np.zeros(SHAPE, bool))
    assert np.isfinite(empty).all()


def assert_gradient(metric):
    """The derivative by the fused image exists, is finite, not zero, and is the central difference, in float64."""
    shape = (1, *SHAPE[1:])
    with jax.enable_x64(True):
        # away from 0 and 1, without ties: there a piecewise function has one derivative only
        images = [0.1 + 0.8 * np.random.default_rng(seed).random(shape) for seed in (1, 2, 3)]
        direction = np.random.default_rng(4).standard_normal(shape)
        value_and_gradient = jax.jit(jax.value_and_grad(lambda fused: metric(*images[:2], fused).sum()))
        gradient = np.asarray(value_and_gradient(images[2])[1])
        above, below = (value_and_gradient(images[2] + sign * DIFFERENCE_STEP * direction)[0] for sign in (1, -1))
        slope = float((gradient * direction).sum())
        difference = float(above - below) / (2 * DIFFERENCE_STEP)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    assert abs(slope - difference) <= GRADIENT * np.linalg.norm(gradient) * np.linalg.norm(direction)
    assert abs(slope) > GRADIENT * np.linalg.norm(gradient)  # or the comparison would say nothing


def assert_parts_make_the_whole(metric):
    """For a metric that averages a map: means over a region and over its complement add up to the whole."""
    images = [picture(seed, SHAPE) for seed in (5, 6, 7)]
    region = np.zeros(SHAPE, bool)
    region[:, :, :13] = True
    halves = [metric(*images, mask=mask) for mask in (region, ~region)]
    np.testing.assert_allclose(sum(halves) / 2, metric(*images), rtol=0, atol=tolerances.METRIC_F32)
    assert not np.allclose(halves[0], halves[1], rtol=0, atol=tolerances.METRIC_F32)


def constant(value, shape=SHAPE):
    """A constant image, float32."""
    return np.full(shape, value, np.float32)


def assert_page(name):
    """The example of docs/metrics/<name>.md gives what is printed there."""
    page = pathlib.Path(__file__).parents[2] / "docs" / "metrics" / f"{name}.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 5 and result.failed == 0
