"""The numbers of the evaluator published with CDDFuse, against an independent computation with SciPy."""

import numpy as np
import pytest
from scipy import ndimage, stats
from sklearn.metrics import mutual_info_score

from fusioninn_jax import metrics
from fusioninn_jax.metrics.cddfuse import NAMES, cddfuse
from tests import tolerances


def images(seed):
    """Two sources and a fused image in grey levels: smooth, with flat parts and repeated values."""
    rng = np.random.default_rng(seed)
    a, b = (np.round(255 * (ndimage.gaussian_filter(rng.random((60, 52)), 2) - 0.3).clip(0, 0.4) / 0.4) for _ in "ab")
    a[:12], b[:, :9] = 0, 0
    return a, b, np.round(0.6 * np.maximum(a, b) + 0.3 * np.minimum(a, b))


def vifp(reference, image):
    """Sheikh and Bovik 2006, pixel domain, with direct two-dimensional windows."""
    kept = there = 0.0
    for window in (17, 9, 5, 3):
        grid = np.arange(window) - window // 2
        kernel = np.exp(-(grid[:, None] ** 2 + grid**2) / (2 * (window / 5) ** 2))
        kernel /= kernel.sum()
        inside = slice(window // 2, -(window // 2))

        def blur(x, kernel=kernel, inside=inside):
            return ndimage.correlate(x, kernel, mode="constant")[inside, inside]

        if window < 17:
            reference, image = blur(reference)[::2, ::2], blur(image)[::2, ::2]
        mr, mi = blur(reference), blur(image)
        vr, vi = (np.maximum(blur(x * x) - m * m, 0) for x, m in ((reference, mr), (image, mi)))
        covariance = blur(reference * image) - mr * mi
        good = (vr >= 1e-10) & (vi >= 1e-10) & (covariance > 0)
        gain = np.where(good, covariance / (vr + 1e-10), 0)
        rest = np.maximum(vi - gain * covariance, 1e-10)
        kept, there = kept + np.log(1 + gain**2 * vr / (rest + 2)).sum(), there + np.log(1 + vr / 2).sum()
    return kept / there


def edges(x):
    along, down = (ndimage.sobel(x, axis, mode="constant") for axis in (1, 0))
    with np.errstate(divide="ignore", invalid="ignore"):
        # the evaluator's kernels differ in sign between the two directions
        return np.hypot(along, down), np.where(along == 0, np.pi / 2, np.arctan(-down / along))


def preserved(x, y):
    (gx, ax), (gy, ay) = edges(x), edges(y)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(gx > gy, gy / gx, np.where(gx < gy, gx / gy, gy))
    turn = 1 - abs(ax - ay) / (np.pi / 2)
    return 0.9994 / (1 + np.exp(-15 * (ratio - 0.5))) * 0.9879 / (1 + np.exp(-22 * (turn - 0.8))), gx


def ssim7(x, y):
    n = 49 / 48
    mean = [ndimage.uniform_filter(z, 7) for z in (x, y)]
    xx, yy, xy = (
        n * (ndimage.uniform_filter(p * q, 7) - mp * mq)
        for p, q, mp, mq in ((x, x, mean[0], mean[0]), (y, y, mean[1], mean[1]), (x, y, *mean))
    )
    c1, c2 = 0.02**2, 0.06**2
    found = (2 * mean[0] * mean[1] + c1) * (2 * xy + c2) / ((mean[0] ** 2 + mean[1] ** 2 + c1) * (xx + yy + c2))
    return found[3:-3, 3:-3].mean()


def expected(a, b, y):
    r = lambda p, q: stats.pearsonr(p.ravel(), q.ravel())[0]  # noqa: E731
    share = np.bincount(y.astype(int).ravel()) / y.size
    mse = (((a - y) ** 2).mean() + ((b - y) ** 2).mean()) / 2
    (qa, ga), (qb, gb) = preserved(a, y), preserved(b, y)
    return {
        "EN": stats.entropy(share, base=2),
        "SD": y.std(),
        "SF": np.sqrt((np.diff(y, axis=1) ** 2).mean() + (np.diff(y, axis=0) ** 2).mean()),
        "AG": np.sqrt(sum(g**2 for g in np.gradient(y)) / 2).mean(),
        "MI": mutual_info_score(a.ravel(), y.ravel()) + mutual_info_score(b.ravel(), y.ravel()),
        "MSE": mse,
        "CC": (r(a, y) + r(b, y)) / 2,
        "PSNR": 10 * np.log10(y.max() ** 2 / mse),
        "SCD": r(y - b, a) + r(y - a, b),
        "VIF": vifp(a, y) + vifp(b, y),
        "Qabf": (qa * ga + qb * gb).sum() / (ga + gb).sum(),
        "SSIM": ssim7(a, y) + ssim7(b, y),
    }


@pytest.mark.parametrize("seed", [0, 1])
def test_the_numbers_are_the_evaluators(seed):
    stack = [image.astype(np.float32)[None] / np.float32(255) for image in images(seed)]
    found, wanted = cddfuse(*stack), expected(*images(seed))
    assert tuple(found) == NAMES == tuple(wanted)
    for name in NAMES:
        np.testing.assert_allclose(found[name], [wanted[name]], rtol=tolerances.EVALUATOR, err_msg=name)


def test_it_differs_from_our_own_where_the_page_says_so():
    stack = [image.astype(np.float32)[None] / np.float32(255) for image in images(1)]
    found = cddfuse(*stack)
    np.testing.assert_allclose(found["MI"] / metrics.mutual_information(*stack), np.log(2), rtol=tolerances.SUM_F32)
    assert found["Qabf"][0] < metrics.q_abf(*stack)[0] and found["AG"][0] < metrics.average_gradient(stack[2])[0]
    np.testing.assert_allclose(found["VIF"], metrics.vif(*stack), rtol=tolerances.ROUNDING_F32)


def test_small_images_are_refused():
    with pytest.raises(ValueError, match="smaller than the metric's 41x41"):
        cddfuse(*[np.zeros((1, 40, 50), np.float32)] * 3)


@pytest.mark.parametrize("first, second, fused", [(0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.2, 0.4, 0.0)])
def test_every_number_of_flat_images_is_finite(first, second, fused):
    flat = [np.full((1, 48, 48, 1), value, np.float32) for value in (first, second, fused)]
    found = cddfuse(*flat)
    assert set(found) == set(NAMES) and all(np.isfinite(value).all() for value in found.values())
    assert found["Qabf"] == (0 if max(first, second) == 0 else pytest.approx(float(found["Qabf"][0])))
    if first == second == fused:
        assert found["PSNR"] == 100
