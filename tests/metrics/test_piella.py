"""Q_P against the toolbox's numbers in both variants, windows written out, and its properties."""

import hypothesis
import numpy as np
import pytest

from benchmarks import numpy_loops
from fusioninn_jax.metrics import q_p
from tests import tolerances
from tests.metrics import table1
from tests.metrics.pictures import grey_levels, scenes, triple

SHAPE = (1, 22, 23, 1)
ALL_VARIANTS = ["toolbox", "fusioninn", "weighted", "edge"]
VARIANTS = pytest.mark.parametrize("variant", ALL_VARIANTS)
BINDING = slice(0, 4)  # the later real triples lie on a flat grey background, where the toolbox's λ is rounding noise


@pytest.mark.parametrize("float64", [True, False])
@pytest.mark.parametrize("variant, binding", [("toolbox", BINDING), ("fusioninn", slice(None))])
def test_goldens(case, variant, binding, float64):
    levels, numbers = case
    table1.assert_golden(
        lambda *three: q_p(*three, variant=variant),
        levels[:, binding],
        numbers[f"q_p_{variant}"][binding],
        float64=float64,
    )


@pytest.mark.parametrize("variant", ["toolbox", "edge"])
def test_shared_properties(variant):
    table1.assert_shared_properties(lambda *three, **mask: q_p(*three, variant=variant, **mask))


def test_parts_make_the_whole():
    table1.assert_parts_make_the_whole(q_p)


@pytest.mark.parametrize("variant", ["toolbox", "edge"])
def test_gradient(variant):
    table1.assert_gradient(lambda *three: q_p(*three, variant=variant, quantize=False))


@hypothesis.settings(max_examples=6, deadline=None)
@hypothesis.given(scenes(SHAPE), scenes(SHAPE), scenes(SHAPE))
def test_range_loops_and_identity(x1, x2, fused):
    expected = numpy_loops.q_p(*(grey_levels(image)[0, ..., 0] for image in (x1, x2, fused)))
    np.testing.assert_allclose(q_p(x1, x2, fused), [expected], atol=tolerances.METRIC_F32)
    for variant in ALL_VARIANTS:
        assert abs(q_p(x1, x2, fused, variant=variant)[0]) <= 1 + tolerances.METRIC_F32
        np.testing.assert_allclose(q_p(x1, x1, x1, variant=variant), [1], atol=tolerances.METRIC_F32)


def test_follows_the_source_that_has_contrast():
    textured, flat = triple(SHAPE)[0] * 0.5 + 0.25, table1.constant(0.5, SHAPE)
    np.testing.assert_allclose(q_p(textured, flat, textured), [1], atol=tolerances.METRIC_F32)
    assert q_p(textured, flat, flat) < 0.5


@pytest.mark.parametrize("variant, counts", [("toolbox", True), ("weighted", False), ("edge", False)])
def test_blank_background_counts_in_the_plain_mean_alone(variant, counts):
    wide = [np.pad(image, ((0, 0), (16, 16), (16, 16), (0, 0))) for image in triple(SHAPE)]
    wider = [np.pad(image, ((0, 0), (9, 9), (9, 9), (0, 0))) for image in wide]
    change = abs(q_p(*wider, variant=variant) - q_p(*wide, variant=variant))
    assert (change > 10 * tolerances.METRIC_F32) == counts


def test_weighted_is_the_mean_of_windows_by_saliency():
    """One window: nothing to weigh. Two: by the larger variance of the sources."""
    three = triple((1, 11, 12, 1))
    windows = [[image[:, :, start : start + 11] for image in three] for start in (0, 1)]
    single = [q_p(*window) for window in windows]
    np.testing.assert_allclose(q_p(*windows[0], variant="weighted"), single[0], atol=tolerances.METRIC_F32)
    saliency = [max(numpy_loops._variance(grey_levels(image)[0, ..., 0]) for image in window[:2]) for window in windows]
    np.testing.assert_allclose(
        q_p(*three, variant="weighted"), np.average(single, axis=0, weights=saliency), atol=tolerances.METRIC_F32
    )


@VARIANTS
def test_constant_images_are_defined(variant):
    # value / 255 is a whole grey level; Prewitt edges of a constant are its border alone
    for value in (0.0, 0.2, 1.0):
        score = q_p(*[table1.constant(value)] * 3, variant=variant)
        np.testing.assert_allclose(score, 1, atol=tolerances.METRIC_F32)
    different = q_p(table1.constant(0.2), table1.constant(0.4), table1.constant(0.6), variant=variant)
    assert np.isfinite(different).all() and (different < 1).all()


def test_flat_grey_background_weighs_both_sources_alike_in_float32():
    """A brightness of 200 leaves a float32 variance of rounding noise; λ must be ½ there, not arbitrary."""
    x1, x2, fused = (table1.constant(level / 255, SHAPE) for level in (200, 100, 150))
    expected = np.mean([(2 * a * 150 + 6.5025) / (a * a + 150 * 150 + 6.5025) for a in (200, 100)])
    np.testing.assert_allclose(q_p(x1, x2, fused), [expected], atol=tolerances.METRIC_F32)


def test_central_cut():
    three = triple((1, 25, 26, 1))
    inside = np.zeros(three[0].shape, bool)
    inside[:, 12 - 5 : 12 + 6, 13 - 5 : 13 + 6] = True
    np.testing.assert_allclose(q_p(*three, variant="fusioninn"), q_p(*three, mask=inside), atol=tolerances.METRIC_F32)
    with pytest.raises(ValueError, match="the central 11x11 pixels need images of at least 21x21"):
        q_p(*triple((1, 20, 30, 1)), variant="fusioninn")


def test_page_says_what_the_example_gives():
    table1.assert_page("q_p")
