"""Q_XY against the toolbox's numbers in both variants, pixels written out, and its properties."""

import hypothesis
import numpy as np
import pytest

from benchmarks import numpy_loops
from fusioninn_jax.metrics import q_xy
from tests import tolerances
from tests.metrics import table1
from tests.metrics.pictures import grey_levels, images, triple

SHAPE = (1, 12, 13, 1)  # as pictures.images draws them
BEST = {
    "toolbox": 1 / (1 + np.exp(-5)) ** 2,
    "fusioninn": 1 / (1 + np.exp(-5)) ** 2,
    "xydeas2000": 0.9994 / (1 + np.exp(-7.5)) * 0.9879 / (1 + np.exp(-4.4)),
}
VARIANTS = pytest.mark.parametrize("variant", BEST)


@pytest.mark.parametrize("float64", [True, False])
@pytest.mark.parametrize("variant", ["toolbox", "fusioninn"])
def test_goldens(case, variant, float64):
    levels, numbers = case
    table1.assert_golden(
        lambda *three: q_xy(*three, variant=variant), levels, numbers[f"q_xy_{variant}"], float64=float64
    )


@pytest.mark.parametrize("variant", ["toolbox", "xydeas2000"])
def test_shared_properties(variant):
    table1.assert_shared_properties(lambda *three, **mask: q_xy(*three, variant=variant, **mask))


def test_parts_make_the_whole():
    table1.assert_parts_make_the_whole(q_xy)


@VARIANTS
def test_gradient(variant):
    table1.assert_gradient(lambda *three: q_xy(*three, variant=variant, quantize=False))


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(images(), images(), images())
def test_range_loops_and_identity(x1, x2, fused):
    expected = numpy_loops.q_xy(*(grey_levels(image)[0, ..., 0] for image in (x1, x2, fused)))
    np.testing.assert_allclose(q_xy(x1, x2, fused), [expected], atol=tolerances.METRIC_F32)
    for variant, best in BEST.items():
        assert 0 <= q_xy(x1, x2, fused, variant=variant)[0] <= best + tolerances.METRIC_F32
        np.testing.assert_allclose(q_xy(x1, x1, x1, variant=variant), [best], atol=tolerances.METRIC_F32)


@VARIANTS
def test_inverted_images_have_the_same_edges(variant):
    """Inside; against the zero padding black and white differ."""
    three = triple((1, 16, 17, 1))
    inside = np.zeros((1, 16, 17, 1), bool)
    inside[:, 1:-1, 1:-1] = True
    scores = [q_xy(*group, variant=variant, mask=inside) for group in (three, [1 - image for image in three])]
    np.testing.assert_allclose(scores[0], scores[1], atol=tolerances.METRIC_F32)


def test_blank_background_flatters_the_toolbox_alone():
    bare = triple((1, 16, 17, 1))
    padded = [np.pad(image, ((0, 0), (20, 20), (20, 20), (0, 0))) for image in bare]
    assert q_xy(*padded) > q_xy(*bare) + 0.1
    original, more = (q_xy(*images_, variant="xydeas2000") for images_ in (bare, padded))
    assert abs(more - original) < 0.1


@VARIANTS
def test_constant_images_score_the_best(variant):
    for value in (0.0, 0.4):
        np.testing.assert_allclose(
            q_xy(*[table1.constant(value)] * 3, variant=variant), BEST[variant], atol=tolerances.METRIC_F32
        )


def test_central_cut_needs_its_pixels_only():
    x1, x2, fused = triple((1, 13, 16, 1))
    other = np.where(
        np.add.outer(np.abs(np.arange(13) - 6) > 2, np.abs(np.arange(16) - 8) > 2)[None, ..., None], 1 - fused, fused
    )
    expected = q_xy(x1, x2, fused, variant="fusioninn")
    np.testing.assert_allclose(q_xy(x1, x2, other, variant="fusioninn"), expected, atol=tolerances.METRIC_F32)
    inside = np.zeros(x1.shape, bool)
    inside[:, 5:8, 7:10] = True
    np.testing.assert_allclose(q_xy(x1, x2, fused, mask=inside), expected, atol=tolerances.METRIC_F32)


def test_page_says_what_the_example_gives():
    table1.assert_page("q_xy")
