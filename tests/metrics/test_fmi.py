"""Q_FMI against the published code's numbers, a 9x9 joint distribution written out, and its properties."""

import hypothesis
import jax
import numpy as np
import pytest

from benchmarks import numpy_loops
from fusioninn_jax.metrics import q_fmi
from tests import tolerances
from tests.metrics import table1
from tests.metrics.pictures import images, triple

SHAPE = (1, 12, 13, 1)  # as pictures.images draws them


@pytest.mark.parametrize("float64", [True, False])
def test_goldens(case, float64):
    levels, numbers = case
    crop = levels[:, :, slice(*numbers["fmi_rows"]), slice(*numbers["fmi_cols"])]
    table1.assert_golden(q_fmi, crop, numbers["q_fmi_crop"], float64=float64)


def single_windows(levels, seed):
    """(400, 3, 3) windows of few grey levels, so that ties, flat and single-pixel windows abound."""
    return np.random.default_rng(seed).choice(levels, (400, 3, 3)).astype(float)


@pytest.mark.parametrize("levels", [(0, 2), (0, 0, 0, 0, 0, 0, 255), (7, 8, 200), range(256)])
def test_windows_written_out(levels):
    a, b, f = (single_windows(levels, seed) for seed in (1, 2, 3))
    f[:50] = a[:50]
    f[50:100] = 255 - a[50:100]
    expected = [
        (numpy_loops.fmi_window(*pair) + numpy_loops.fmi_window(*other)) / 2
        for pair, other in zip(zip(a, f, strict=True), zip(b, f, strict=True), strict=True)
    ]
    table1.assert_golden(q_fmi, (a, b, f), expected, float64=True)
    table1.assert_golden(q_fmi, (a, b, f), expected, float64=False)


def test_shared_properties():
    table1.assert_shared_properties(q_fmi)


def test_gradient():
    table1.assert_gradient(lambda *three: q_fmi(*three, quantize=False))


def test_both_variants_are_the_same_metric():
    three = triple(SHAPE)
    np.testing.assert_array_equal(q_fmi(*three, variant="fusioninn"), q_fmi(*three))


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(images(), images(), images())
def test_finite_alike_for_both_sources_and_one_for_identity(x1, x2, fused):
    score = q_fmi(x1, x2, fused)
    assert np.isfinite(score).all()  # φ is not clipped, so a window may leave [0, 1]
    np.testing.assert_allclose(score, q_fmi(x2, x1, fused), atol=tolerances.METRIC_F64)
    np.testing.assert_allclose(q_fmi(x1, x1, x1), [1], atol=tolerances.METRIC_F64)


def test_brightness_and_contrast_of_the_fused_image_do_not_matter():
    with jax.enable_x64(True):
        x1, x2, fused = (np.random.default_rng(seed).random(SHAPE) for seed in (1, 2, 3))
        scores = [np.asarray(q_fmi(x1, x2, image, quantize=False)) for image in (fused, 0.1 * fused + 0.3, 1 - fused)]
    np.testing.assert_allclose(scores[1], scores[0], atol=tolerances.METRIC_F64)
    assert abs(scores[2] - scores[0]) > tolerances.METRIC_F32  # an inverted pattern is another one


def test_mask_counts_windows_wholly_inside():
    three = triple(SHAPE)
    mask = np.zeros(SHAPE, bool)
    mask[:, 2:9, 3:10] = True
    cropped = q_fmi(*(image[:, 2:9, 3:10] for image in three))
    np.testing.assert_allclose(q_fmi(*three, mask=mask), cropped, atol=tolerances.METRIC_F32)


def test_constant_images():
    grey, lighter, textured = table1.constant(0.25), table1.constant(0.75), triple(table1.SHAPE)[0]
    for images_, expected in (
        ((grey, grey, grey), 1),
        ((grey, lighter, grey), 0.5),
        ((lighter, lighter, grey), 0),
        ((textured, textured, grey), 0),
    ):
        np.testing.assert_allclose(q_fmi(*images_), expected, atol=tolerances.METRIC_F64)


def test_page_says_what_the_example_gives():
    table1.assert_page("q_fmi")
