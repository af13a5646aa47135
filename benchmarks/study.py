"""Fusing and decomposing one study: seconds of the first call (compilation in it) and of the next, and peak memory.

Seconds of CPU, over all cores, stand in brackets: they hold on a busy machine too.

    python benchmarks/study.py [--size 155 240 240] [--checkpoint=runs/x]
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from fusioninn_jax.formats import files
from fusioninn_jax.formats.grid import PIXELS
from fusioninn_jax.formats.series import uniform
from fusioninn_jax.studies import fusing


def phantom(size: tuple[int, int, int], seed: int) -> np.ndarray:
    """int16 (Z, H, W): noise inside an ellipsoid of the extent of a head; what it shows makes no difference here."""
    z, y, x = np.meshgrid(*[np.linspace(-1.3, 1.3, n) for n in size], indexing="ij", sparse=True)
    noise = np.random.default_rng(seed).integers(200, 1200, size)
    return np.where(x**2 + y**2 + z**2 < 1, noise, 0).astype(np.int16)


def report(name: str, call: Callable[[], Any]) -> Any:
    """Calls twice, prints a line, returns the result."""
    cells = []
    for _ in range(2):
        started, processor = time.time(), time.process_time()
        result = call()
        cells.append(f"{time.time() - started:.1f} ({time.process_time() - processor:.1f})")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"| {name} | {cells[0]} | {cells[1]} | {peak:.2f} |", flush=True)
    return result


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", nargs=3, type=int, default=(155, 240, 240))
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--checkpoint")
    args = parser.parse_args()
    system = fusing.load(args.checkpoint)
    sources = [uniform(phantom(tuple(args.size), seed), PIXELS, {"kind": "none"}) for seed in (0, 1)]
    print("| | first call, s (of CPU) | next | peak memory of the process, GB |\n|---|---|---|---|")
    fused = report("fuse", lambda: fusing.fuse(system, sources, files.SIGNED))
    report("decompose, with the latent", lambda: fusing.decompose(system, fused.volume, 0))
    alone = fusing.as_volume(system, fused.image, fused.record)
    report("decompose, fresh noise", lambda: fusing.decompose(system, alone, 0))
    report(f"decompose, {args.samples} samples", lambda: fusing.decompose_samples(system, alone, 0, args.samples))


if __name__ == "__main__":
    main()
