"""What one would do without this package: lossy JPEG XL of both sources in the lowest bits of their mean.

    pip install 'fusioninn_jax[bench]' && python benchmarks/low_bits.py --folder=FOLDER [--bits=2] [--patients=A,B]

For each of the slices with most tumour the finest JPEG XL of both sources that fits into the lowest bits of the mean's
brain pixels; printed: SSIM inside the brain of what comes back, and of the picture with each source.
"""

from __future__ import annotations

import argparse
import os

import imagecodecs
import numpy as np
from conspicuity import find_patients, read_patient

from data.brats import layouts
from fusioninn_jax import metrics
from fusioninn_jax.runtime import errors


def finest(levels: np.ndarray, room: int) -> np.ndarray:
    """(H, W) uint8 as the finest JPEG XL of at most `room` bytes gives it back."""
    coarse, fine = 15.0, 0.05  # JPEG XL's distance
    for _ in range(8):
        middle = (coarse * fine) ** 0.5
        fits = len(imagecodecs.jpegxl_encode(levels, distance=middle, lossless=False, effort=7)) <= room
        coarse, fine = (middle, fine) if fits else (coarse, middle)
    return imagecodecs.jpegxl_decode(imagecodecs.jpegxl_encode(levels, distance=coarse, lossless=False, effort=7))


def measure(stack: np.ndarray, bits: int) -> list[float]:
    """SSIM in the brain of both sources back, then of the picture with both, of an (H, W, 2) slice in [0, 1]."""
    brain, levels = (stack > 0).any(-1), np.round(stack * 255).astype(np.uint8)
    room = int(brain.sum()) * bits // 8 // 2  # bytes for each source
    mean, random = np.round(stack.mean(-1) * 255).astype(np.uint8), np.random.default_rng(0)
    low = random.integers(0, 2**bits, mean.shape, np.uint8)  # a good code looks like noise
    picture = np.where(brain, (mean >> bits << bits) | low, mean)
    images = [finest(levels[..., i], room) for i in range(2)] + [picture] * 2

    def column(image: np.ndarray) -> np.ndarray:
        return image.astype(np.float32)[None, ..., None]

    return [
        float(
            metrics.decomposition_ssim(column(stack[..., i % 2]), column(image) / 255, mask=brain[None, ..., None])[0]
        )
        for i, image in enumerate(images)
    ]


def main() -> int:
    """Prints a line for each patient, then the mean."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", default=os.environ.get("FUSIONINN_REALDATA"))
    parser.add_argument("--patients", default="", help="names, set apart by commas; default: all with an annotation")
    parser.add_argument("--bits", type=int, default=2)
    parser.add_argument("--slices", type=int, default=6)
    args = parser.parse_args()
    if not args.folder:
        parser.error("give --folder, or set FUSIONINN_REALDATA")
    modalities = layouts.parse_modalities(["t1gd", "flair"])
    print("| patient | back, T1-Gd | FLAIR | picture, T1-Gd | FLAIR |\n|---|---|---|---|---|")
    rows = []
    for subject in find_patients(args, modalities):
        stacks, _ = read_patient(subject, modalities, args.slices)
        rows.append(np.mean([measure(stack, args.bits) for stack in stacks], 0))
        print(f"| {subject.name} | " + " | ".join(f"{value:.3f}" for value in rows[-1]) + " |", flush=True)
    print("| **mean** | " + " | ".join(f"{value:.3f}" for value in np.mean(rows, 0)) + " |")
    return 0


if __name__ == "__main__":
    errors.cli(main)
