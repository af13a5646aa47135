"""Speed of the five metrics of Table 1, and a check against plain NumPy: `python benchmarks/metrics.py`.

Prints a Markdown table of milliseconds per 240x240 pair (two sources and a fused image): ours in batches of 1 and 32,
the NumPy loops of numpy_loops.py, and scikit-image's SSIM where installed. Medians of `REPEATS` runs after one that
compiles. Images are synthetic: smooth structure and noise inside an ellipse, black outside, like a stripped brain.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import numpy as np

from benchmarks import numpy_loops
from benchmarks.timing import SIZE, brains, median_seconds
from fusioninn_jax import metrics

BATCHES = (1, 32)
REPEATS = 7
LOOP_REPEATS = 5
CROP = 48  # the loops run on a crop of this side; their time is scaled by the number of window positions
AGREEMENT = 1e-4
WINDOWS = {"q_ssim": 11, "q_fmi": 3, "q_ncie": 1, "q_xy": 1, "q_p": 11}  # sides; Q_XY pads, so every pixel counts


def triple(batch: int) -> list[np.ndarray]:
    x1, x2 = brains(1, batch), brains(2, batch)
    return [x1, x2, (np.round(255 * (0.6 * x1 + 0.4 * x2)) / 255).astype(np.float32)]


def ours_ms(name: str, batch: int) -> float:
    """Milliseconds per pair, the checks of the input included."""
    images = [jax.device_put(image) for image in triple(batch)]

    def call():
        jax.block_until_ready(getattr(metrics, name)(*images))

    call()
    return 1e3 * median_seconds(call, REPEATS) / batch


def loop_ms(name: str) -> tuple[float, float]:
    """Milliseconds per 240x240 pair, scaled up from a crop, and the difference of the loop's score from ours."""
    crops, scale = triple(1), 1.0
    if name != "q_ncie":  # whose loop is quick, and whose histograms cost the same whatever the image's size
        start, side = (SIZE - CROP) // 4, WINDOWS[name] - 1  # across the edge of the ellipse
        crops = [image[:, start : start + CROP, SIZE // 2 : SIZE // 2 + CROP] for image in crops]
        scale = ((SIZE - side) / (CROP - side)) ** 2
    plain = [image[0, ..., 0].astype(np.float64) for image in crops]
    if name != "q_ssim":
        plain = [np.round(255 * image) for image in plain]
    loop = getattr(numpy_loops, name)
    difference = abs(loop(*plain) - float(getattr(metrics, name)(*crops)[0]))
    return 1e3 * median_seconds(lambda: loop(*plain), LOOP_REPEATS) * scale, difference


def skimage_ms(name: str) -> str:
    if name != "q_ssim":
        return "–"
    try:
        from skimage.metrics import structural_similarity
    except ImportError:
        return "not installed"
    x1, x2, fused = (image[0, ..., 0] for image in triple(1))

    def call():
        for source in (x1, x2):
            structural_similarity(
                source, fused, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
            )

    return f"{1e3 * median_seconds(call, REPEATS):.1f}"


def main() -> int:
    print(
        f"{jax.device_count()} {jax.devices()[0].device_kind} device(s), jax {jax.__version__}; ms per "
        f"{SIZE}x{SIZE} pair, medians of {REPEATS} (loops: of {LOOP_REPEATS}, on a {CROP}x{CROP} crop, scaled by the "
        "number of windows; Q_NCIE's on the whole image)\n"
    )
    ours_heads = [f"ours, batch {batch}" for batch in BATCHES]
    heads = ["metric", *ours_heads, "NumPy loop", "scikit-image", "difference of the scores"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    totals, agree = [0.0] * len(BATCHES), True
    for name in WINDOWS:
        ours = [ours_ms(name, batch) for batch in BATCHES]
        loop, difference = loop_ms(name)
        agree &= difference < AGREEMENT
        totals = [total + one for total, one in zip(totals, ours, strict=True)]
        cells = [name, *(f"{one:.1f}" for one in ours), f"{loop:.0f}", skimage_ms(name), f"{difference:.0e}"]
        print("| " + " | ".join(cells) + " |", flush=True)
    print("| all five | " + " | ".join(f"{total:.1f}" for total in totals) + " | | | |")
    print(f"\nloops and ours agree to {AGREEMENT}: {'yes' if agree else 'NO'}")
    return 0 if agree else 1


if __name__ == "__main__":
    sys.exit(main())
