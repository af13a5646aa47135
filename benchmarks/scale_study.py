"""Predicted step time, input and communication from 8 to 4096 chips: `python benchmarks/scale_study.py`.

Prints Markdown tables of weak scaling (the same pairs on every chip) and of strong scaling (one global batch). Nothing
here was run on more than one machine: these are predictions from single-device numbers, published peak rates and the
utilisations below, which are assumptions. `--measure DATASET` measures the single-device numbers of this machine first.
"""

import argparse
import dataclasses
import math
import pathlib
import sys
import time

from fusioninn_jax import settings
from fusioninn_jax.models import fusioninn

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

from benchmarks import timing

COUNTS = (8, 16, 64, 256, 1024, 4096)
PIXELS = 240 * 240
GATHERED = 4 + 4 + 1  # bytes a pixel that latent losses without sums bring together: latent, draw of the prior, mask
SUMS = 900  # numbers that the latent loss `characteristic` adds up (tests/training/test_parallel.py)
SUMS_TRAFFIC = 50e6  # its bytes a pair: 8 points x 2 passes x 6 arrays of a number a pixel, and as much for the rest
SUMS_SHARE = 0.03  # of a step's time on the CPU, measured
LOSS_FLOPS = 1.3e9  # of the blurs of the loss and their gradients, a pair (docs/PERFORMANCE.md)
PASSES = 12  # over a hidden layer in a step: two directions, forward written and read, backward recomputed, gradient
COMPRESSED = 42e3  # bytes a pair on disk (brats/real)


@dataclasses.dataclass(frozen=True)
class Chip:
    """A kind of chip: published rates, and the assumed share of them that this model reaches."""

    name: str
    flops: float  # peak at the precision that convolutions of float32 use, FLOP/s
    flops_share: float
    memory: float  # bytes/s
    memory_share: float
    sort: float  # float32 keys/s of XLA's sort, assumed
    link: float  # bytes/s in and out of a chip inside a domain
    domain: int  # chips that those links join
    network: float  # bytes/s a chip between domains
    hop: float  # seconds of a message between neighbours
    host_chips: int
    pair_ms: float = 0.0  # of a step, where it is measured


CHIPS = (
    Chip("2 CPU cores (measured)", 0, 0, 0, 0, 1e7, 1.25e9, 1, 1.25e9, 5e-5, 1, pair_ms=45),
    # 197 TFLOP/s bfloat16, 819 GB/s, 4 links of 400 Gbit/s, 256 chips a pod (Google Cloud, "TPU v5e"); float32 takes
    # six bfloat16 products; a tenth of that because 4 to 32 channels fill little of a 128 x 128 unit; 4 chips a host of
    # 100 Gbit/s between pods
    Chip("TPU v5e", 197e12 / 6, 0.1, 819e9, 0.5, 2e8, 200e9, 256, 3e9, 1e-6, 4),
    # 495 TFLOP/s TF32 without sparsity, 3.35 TB/s, NVLink 450 GB/s a direction (NVIDIA, "H100 SXM"); InfiniBand NDR
    # 400 Gbit/s a GPU
    Chip("H100 SXM", 495e12, 0.05, 3.35e12, 0.5, 4e9, 450e9, 8, 50e9, 5e-6, 8),
)


def multiply_adds():
    """(multiply-adds, hidden values) of one evaluation of the default model's conditioners, for an image's pixel."""
    config, products, hidden = settings.defaults().model.fusioninn, 0.0, 0.0
    levels, widths = fusioninn.block_levels(config), fusioninn.setting(config, "widths")
    for block, level in enumerate(levels):
        width = widths[block % len(widths)]
        half, positions = 4**level, 4**level  # channels of each half; pixels of the image to a position
        products += 2 * (9 * half * width + 9 * width * 2 * half) / positions
        hidden += 2 * width / positions
    return products, hidden


def pair_seconds(chip):
    """A training step's time for a pair on one chip, without the latent loss: the slower of arithmetic and memory."""
    if chip.pair_ms:
        return chip.pair_ms / 1e3
    products, hidden = multiply_adds()
    flops = 3 * 2 * 2 * products * PIXELS + LOSS_FLOPS  # two directions; backward is twice forward
    traffic = PASSES * hidden * 4 * PIXELS + 120 * 4 * PIXELS
    return max(flops / (chip.flops * chip.flops_share), traffic / (chip.memory * chip.memory_share))


def latent_seconds(chip, chips, batch, args):
    """The latent loss: what it computes, and what it sends but for the messages' own time."""
    bandwidth = chip.link if chips <= chip.domain else chip.network
    if args.latent == "characteristic":  # a device's own pixels, then a small sum
        pair = SUMS_SHARE * chip.pair_ms / 1e3 if chip.pair_ms else SUMS_TRAFFIC / (chip.memory * chip.memory_share)
        return math.ceil(batch / chips) * pair, 2 * 4 * SUMS / bandwidth
    if args.latent == "white":  # latents and draws of all devices are sorted, on every device
        return batch * 2 * PIXELS / chip.sort, batch * GATHERED * PIXELS / bandwidth
    return 0.0, 0.0


def predict(chip, chips, batch, args):
    """Seconds of the parts of a step with `batch` pairs on all chips together."""
    bandwidth = chip.link if chips <= chip.domain else chip.network
    hops = 2 * math.ceil(math.log2(chips))
    share = (chips - 1) / chips
    computed, sent = latent_seconds(chip, chips, batch, args)
    return {
        "compute": math.ceil(batch / chips) * pair_seconds(chip),
        "latent": computed,
        "exchange": share * sent + hops * chip.hop,
        "all-reduce": 2 * share * 4 * args.parameters / bandwidth + hops * chip.hop,
    }


def rows(chip, batch_of, args):
    """A row for each number of chips."""
    for chips in COUNTS:
        batch = batch_of(chips)
        if batch % chips:  # a chip holds one pair at least
            continue
        parts = predict(chip, chips, batch, args)
        step = sum(parts.values())
        hosts = math.ceil(chips / chip.host_chips)
        walk, decode = batch / step / args.walk, batch / hosts / step / args.decode
        yield [
            chips,
            batch,
            f"{1e3 * step:.2f}",
            *(f"{1e3 * value:.3f}" for value in parts.values()),
            f"{batch / step:.0f}",
            f"{parts['compute'] / step:.0%}",
            f"{decode:.1f}",
            f"{batch / step * COMPRESSED / 1e6:.0f}",
            f"{walk:.2f}",
        ]


HEADS = [
    "chips",
    "global batch",
    "step, ms",
    "compute",
    "latent loss",
    "its exchange",
    "all-reduce",
    "pairs/s",
    "computing",
    "cores a host to decode",
    "MB/s a host reads, 1st epoch",
    "share of the walk",
]


def measure(args):
    """This machine's own numbers: (pairs decoded a second and core, pairs of the order passed a second)."""
    import os

    from fusioninn_jax import input_pipeline

    config = settings.defaults("data")
    config.dataset, config.data_dir = args.measure, args.data_dir
    prepared = input_pipeline.open_dataset(config)

    def rate(processes, batch, seconds=6.0):
        batches = input_pipeline.train_batches(prepared, config, batch_size=batch, seed=0, process_count=processes)
        for _ in range(prepared.sizes["train"] // batch + 1):
            next(batches)  # the first epoch fills the cache
        wall, cpu, done = time.perf_counter(), time.process_time(), 0
        while time.perf_counter() - wall < seconds:
            next(batches)
            done += batch
        return done / (time.perf_counter() - wall), done / (time.process_time() - cpu)

    decode = rate(1, 8)[1]
    walk = rate(256, 256)[0]
    print(
        f"measured on {args.measure} ({os.cpu_count()} cores): {decode:.0f} pairs decoded a second and core; one "
        f"process of 256 passes {walk:.0f} pairs of the order a second\n"
    )
    return decode, walk


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parameters", type=int, default=208_388, help="of the default model; the paper's: 17564")
    parser.add_argument("--pairs_a_chip", type=int, default=8, help="weak scaling")
    parser.add_argument("--global_batch", type=int, default=512, help="strong scaling")
    parser.add_argument(
        "--latent", choices=("characteristic", "white", "none"), default="characteristic", help="losses.latent"
    )
    parser.add_argument("--decode", type=float, default=520, help="pairs decoded a second and core")
    parser.add_argument(
        "--walk", type=float, default=8_900, help="pairs of the global order that a process passes a second"
    )
    parser.add_argument("--measure", metavar="DATASET", help="measure the last two on a prepared dataset instead")
    parser.add_argument("--data_dir", default="runs/data")
    args = parser.parse_args()
    if args.measure:
        args.decode, args.walk = measure(args)
    for chip in CHIPS:
        print(f"## {chip.name}: {1e3 * pair_seconds(chip):.2f} ms a pair\n\nWeak: {args.pairs_a_chip} pairs a chip.\n")
        timing.print_table(HEADS, rows(chip, lambda chips: args.pairs_a_chip * chips, args))
        print(f"\nStrong: {args.global_batch} pairs in all.\n")
        timing.print_table(HEADS, rows(chip, lambda chips: args.global_batch, args))
        print()


if __name__ == "__main__":
    main()
