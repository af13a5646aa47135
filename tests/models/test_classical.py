"""The training-free fusions: exact on equal sources, symmetric, in range, at any size; and the SSIM limit."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from fusioninn_jax import ssim
from fusioninn_jax.models import classical
from tests import tolerances
from tests.metrics.pictures import picture
from tests.tolerances import ROUND_TRIP_F32, ROUND_TRIP_F64

FUSIONS = {
    "mean": classical.mean,
    "maximum": classical.maximum,
    "laplacian_pyramid": classical.laplacian_pyramid,
    "wavelet_db1": functools.partial(classical.wavelet, name="db1"),
    "wavelet_db2": functools.partial(classical.wavelet, name="db2"),
    "guided_filter_fusion": classical.guided_filter_fusion,
}
EVERY = pytest.mark.parametrize("fuse", FUSIONS.values(), ids=FUSIONS)
SIZES = [(1, 1), (2, 3), (44, 47)]
GUIDED_F32 = 1e-4  # the detail's variance is compared with 1e-6


def pair(size=(45, 47), batch=2):
    return picture(1, (batch, *size, 1)), picture(2, (batch, *size, 1))


@EVERY
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equal_sources_come_back(fuse, size):
    source = np.random.default_rng(0).random((2, *size, 1), np.float32)
    fused = fuse(source, source)
    assert fused.shape == source.shape and fused.dtype == source.dtype
    np.testing.assert_allclose(fused, source, atol=ROUND_TRIP_F32)


@EVERY
def test_equal_sources_come_back_in_float64(fuse):
    with jax.enable_x64(True):
        source = np.random.default_rng(0).random((1, 21, 30, 1))
        np.testing.assert_allclose(fuse(source, source), source, atol=ROUND_TRIP_F64)


@EVERY
def test_order_does_not_matter_and_range_is_kept(fuse):
    x1, x2 = pair()
    fused = fuse(x1, x2)
    np.testing.assert_allclose(fused, fuse(x2, x1), atol=ROUND_TRIP_F32)
    assert fused.min() >= 0 and fused.max() <= 1
    binary = [np.round(np.random.default_rng(i).random(x1.shape, np.float32)) for i in (1, 2)]
    fused = fuse(*binary)
    assert fused.min() >= 0 and fused.max() <= 1


@EVERY
def test_black_background_stays_black(fuse):
    x1, x2 = (np.pad(x, ((0, 0), (70, 70), (70, 70), (0, 0))) for x in pair((20, 21), batch=1))
    fused = np.asarray(fuse(x1, x2))
    assert fused[:, 70:90, 70:91].any()
    np.testing.assert_allclose(fused[:, :4], 0, atol=ROUND_TRIP_F32)  # beyond the reach of the coarsest level


@EVERY
def test_jit_vmap_and_batch_agree(fuse):
    x1, x2 = pair()
    expected = np.asarray(fuse(x1, x2))
    np.testing.assert_allclose(jax.jit(fuse)(x1, x2), expected, atol=ROUND_TRIP_F32)
    mapped = jax.vmap(lambda a, b: fuse(a[None], b[None])[0])(x1, x2)
    np.testing.assert_allclose(mapped, expected, atol=GUIDED_F32)
    alone = fuse(x1[[0, 0]], x2[[0, 0]])  # of the shape that is compiled already
    np.testing.assert_allclose(alone, expected[[0, 0]], atol=GUIDED_F32)


@EVERY
def test_three_sources_and_too_few(fuse):
    x1, x2 = pair()
    fused = fuse(x1, x2, picture(3, x1.shape))
    assert fused.shape == x1.shape and np.isfinite(fused).all()
    np.testing.assert_allclose(fuse(x1, x1, x1), x1, atol=ROUND_TRIP_F32)
    with pytest.raises(ValueError, match="two or more"):
        fuse(pair()[0])
    with pytest.raises(ValueError, match="one shape"):
        fuse(pair()[0], pair((20, 20))[0])


def test_mean_and_maximum_are_numpy_s():
    x1, x2 = pair()
    np.testing.assert_allclose(classical.mean(x1, x2), (x1 + x2) / 2, rtol=tolerances.ROUNDING_F32)
    np.testing.assert_array_equal(classical.maximum(x1, x2), np.maximum(x1, x2))


def test_the_strongest_coefficient_wins_and_ties_are_shared():
    coefficients = np.array([[2, -1, 3, -4], [-2, -1, 1, 3]], np.float32)
    np.testing.assert_array_equal(classical._strongest(coefficients), [0, -1, 3, -4])
    np.testing.assert_array_equal(classical._strongest(coefficients[::-1]), [0, -1, 3, -4])


@pytest.mark.parametrize("fuse", [classical.laplacian_pyramid, classical.wavelet])
def test_the_sharper_source_wins(fuse):
    """Two copies, each blurred in another half: the fused image is nearer to the sharp original than either."""
    sharp = np.random.default_rng(0).random((1, 64, 64, 1), np.float32)
    blurred = ndimage.gaussian_filter(sharp, (0, 2, 2, 0))
    left = np.arange(64)[None, None, :, None] < 32
    x1, x2 = np.where(left, sharp, blurred), np.where(left, blurred, sharp)
    error = [np.mean((np.asarray(image) - sharp) ** 2) for image in (fuse(x1, x2), x1, x2, (x1 + x2) / 2)]
    assert error[0] < 0.5 * min(error[1:])


def test_unknown_wavelets_are_refused():
    for options in ({"name": "haar"}, {"levels": 0}):
        with pytest.raises(ValueError, match="db1, db2"):
            classical.wavelet(*pair(), **options)


def test_guided_filter_solves_the_local_ridge_regressions():
    """Window by window least squares in NumPy, then the average of the overlapping linear models."""
    rng = np.random.default_rng(0)
    guide, x = rng.random((9, 11)), rng.random((9, 11))
    radius, epsilon = 2, 0.01
    lines = np.zeros((9, 11, 2))
    for i, j in np.ndindex(9, 11):
        window = np.s_[max(i - radius, 0) : i + radius + 1, max(j - radius, 0) : j + radius + 1]
        g, p = guide[window].ravel(), x[window].ravel()
        design = np.stack([g, np.ones_like(g)], 1)
        ridge = np.diag([epsilon * g.size, 0])
        lines[i, j] = np.linalg.solve(design.T @ design + ridge, design.T @ p)
    expected = np.zeros((9, 11))
    for i, j in np.ndindex(9, 11):
        window = np.s_[max(i - radius, 0) : i + radius + 1, max(j - radius, 0) : j + radius + 1]
        slope, offset = lines[window].reshape(-1, 2).mean(0)
        expected[i, j] = slope * guide[i, j] + offset
    with jax.enable_x64(True):
        ours = classical.guided_filter(
            *(jnp.asarray(a)[None, ..., None] for a in (guide, x)), radius=radius, epsilon=epsilon
        )
    np.testing.assert_allclose(ours[0, ..., 0], expected, atol=tolerances.SUM_F64)


def test_guided_filter_fusion_takes_the_detail_of_the_textured_source():
    texture = np.random.default_rng(0).random((1, 64, 64, 1), np.float32)
    flat = np.full_like(texture, 0.5)
    fused = np.asarray(classical.guided_filter_fusion(texture, flat))
    detail = [image - ndimage.uniform_filter(image, (1, 31, 31, 1)) for image in (fused, texture)]
    assert np.corrcoef(detail[0].ravel(), detail[1].ravel())[0, 1] > 0.99
    assert detail[0].std() > 0.8 * detail[1].std()


def mean_ssim(sources, fused):
    return np.mean([ssim.ssim(source, fused) for source in sources], axis=0)


def test_ssim_limit_beats_every_other_fusion():
    sources = pair()
    limit = classical.ssim_limit(*sources, steps=100)
    assert limit.shape == sources[0].shape and limit.min() >= 0 and limit.max() <= 1
    for name, fuse in FUSIONS.items():
        assert (mean_ssim(sources, limit) > mean_ssim(sources, fuse(*sources)) + 0.005).all(), name


def test_ssim_limit_is_never_below_its_start_and_grows_with_steps():
    sources = pair()
    scores = [mean_ssim(sources, classical.ssim_limit(*sources, steps=steps)) for steps in (0, 10, 100)]
    np.testing.assert_allclose(scores[0], mean_ssim(sources, classical.mean(*sources)), rtol=tolerances.ROUNDING_F32)
    assert (scores[0] < scores[1]).all() and (scores[1] < scores[2]).all()
    wild = classical.ssim_limit(*sources, steps=3, learning_rate=10.0)
    assert (mean_ssim(sources, wild) >= scores[0] - tolerances.ROUNDING_F32).all()


def test_ssim_limit_of_equal_sources_is_the_source():
    source = pair()[0]
    np.testing.assert_allclose(classical.ssim_limit(source, source, steps=10), source, atol=tolerances.ROUNDING_F32)


def test_ssim_limit_treats_images_of_a_batch_apart():
    x1, x2 = pair()
    together = classical.ssim_limit(x1, x2, steps=10)
    second = (x1[[1, 1]], x2[[1, 1]])  # without the first, of the shape that is compiled already
    alone = classical.ssim_limit(*second, steps=10)
    np.testing.assert_allclose(
        mean_ssim(second, alone), mean_ssim((x1, x2), together)[[1, 1]], atol=tolerances.LONG_F32
    )
