"""The five metrics as plain NumPy loops over windows and pixels: slow, and close to the definitions.

They are what benchmarks/metrics.py measures against, and the independent word that it and the tests compare with.
Images are (H, W) float64; `q_ssim` takes [0, 1], the others whole numbers in 0..255. Each returns a float.
"""

import numpy as np

OFFSETS = np.arange(11) - 5
GAUSSIAN = np.exp(-(OFFSETS[:, None] ** 2 + OFFSETS[None, :] ** 2) / 4.5)
GAUSSIAN /= GAUSSIAN.sum()
FLAT_VARIANCE = 0.01


def _windows(side, *images):
    height, width = images[0].shape
    for row in range(height - side + 1):
        for column in range(width - side + 1):
            yield [image[row : row + side, column : column + side] for image in images]


def _ssim(a, b, data_range):
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mean_a, mean_b = (GAUSSIAN * a).sum(), (GAUSSIAN * b).sum()
    variances = (GAUSSIAN * (a - mean_a) ** 2).sum() + (GAUSSIAN * (b - mean_b) ** 2).sum()
    covariance = (GAUSSIAN * (a - mean_a) * (b - mean_b)).sum()
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    return luminance * (2 * covariance + c2) / (variances + c2)


def q_ssim(x1, x2, fused):
    return np.mean([(_ssim(a, f, 1) + _ssim(b, f, 1)) / 2 for a, b, f in _windows(11, x1, x2, fused)])


def _variance(a):
    variance = (GAUSSIAN * (a - (GAUSSIAN * a).sum()) ** 2).sum()
    return 0 if variance < FLAT_VARIANCE else variance


def q_p(x1, x2, fused):
    scores = []
    for a, b, f in _windows(11, x1, x2, fused):
        total = _variance(a) + _variance(b)
        share = _variance(a) / total if total else 0.5
        scores.append(share * _ssim(a, f, 255) + (1 - share) * _ssim(b, f, 255))
    return np.mean(scores)


def _edge(a):
    across = a[0, 2] + 2 * a[1, 2] + a[2, 2] - a[0, 0] - 2 * a[1, 0] - a[2, 0]
    down = a[2, 0] + 2 * a[2, 1] + a[2, 2] - a[0, 0] - 2 * a[0, 1] - a[0, 2]
    strength = np.hypot(across, down)
    return strength or 1e-5, np.arctan(down / (across or 1e-5))


def q_xy(x1, x2, fused):
    scores = []
    for windows in _windows(3, *(np.pad(image, 1) for image in (x1, x2, fused))):
        (*sources, (strength_f, angle_f)) = [_edge(window) for window in windows]
        gained = 0.0
        for strength, angle in sources:
            ratio = min(strength, strength_f) / max(strength, strength_f)
            turn = abs(abs(angle - angle_f) - np.pi / 2) * 2 / np.pi
            gained += strength / (1 + np.exp(-10 * (ratio - 0.5))) / (1 + np.exp(-20 * (turn - 0.75)))
        scores.append(gained / (sources[0][0] + sources[1][0]))
    return np.mean(scores)


def _entropy(p, base):
    p = p[p > 0]
    return -(p * np.log(p)).sum() / np.log(base)


def q_ncie(x1, x2, fused):
    levels = [
        np.floor((image - image.min()) * 255 / ((image.max() - image.min()) or 1) + 0.5).astype(int)
        for image in (x1, x2, fused)
    ]
    matrix = np.eye(3)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        joint = np.zeros((256, 256))
        for cell in zip(levels[i].ravel(), levels[j].ravel(), strict=True):
            joint[cell] += 1 / levels[i].size
        matrix[i, j] = matrix[j, i] = (
            _entropy(joint.sum(0), 256) + _entropy(joint.sum(1), 256) - _entropy(joint.ravel(), 256)
        )
    return 1 - _entropy(np.linalg.eigvalsh(matrix) / 3, 256)


def _pdf(window):
    span = window.max() - window.min()
    values = (window - window.min()) / span if span else np.ones(window.size)
    return values / values.sum()


def fmi_window(a, f):
    """2 MI / (H_a + H_f) of two 3x3 windows, with the 9x9 joint distribution written out."""
    a, f = a.ravel(order="F"), f.ravel(order="F")
    if (a == f).all():
        return 1.0
    p_a, p_f, position = _pdf(a), _pdf(f), np.arange(1, 10)
    # whole-number covariance: a correlation of 0 must be found as such, not as 1e-17
    weights = [np.ones(9) if np.ptp(w) == 0 else w - w.min() for w in (a, f)]
    covariance = 9 * (weights[0] * weights[1]).sum() - weights[0].sum() * weights[1].sum()
    deviations = [np.sqrt(max((p * position**2).sum() - (p * position).sum() ** 2, 0)) for p in (p_a, p_f)]
    if covariance == 0 or (p_a == 1).any() or (p_f == 1).any():
        return 0.0
    correlation = np.corrcoef(p_a, p_f)[0, 1]
    sums_a, sums_f = np.cumsum(p_a)[:, None], np.cumsum(p_f)[None, :]
    bound = np.minimum(sums_a, sums_f) if correlation >= 0 else np.maximum(0, sums_a + sums_f - 1)
    phi = correlation * deviations[0] * deviations[1] / (bound - sums_a * sums_f).sum()
    cells = np.diff(np.diff(np.pad(bound, ((1, 0), (1, 0))), axis=0), axis=1)
    joint = phi * cells + (1 - phi) * np.outer(p_a, p_f)
    joint = joint[joint != 0]
    entropies = _entropy(p_a, 2) + _entropy(p_f, 2)
    information = entropies + (joint * np.log2(np.abs(joint))).sum()
    return 2 * information / entropies


def q_fmi(x1, x2, fused):
    return np.mean([(fmi_window(a, f) + fmi_window(b, f)) / 2 for a, b, f in _windows(3, x1, x2, fused)])
