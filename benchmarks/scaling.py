"""One training step on 1, 2, 4 and 8 devices: `python benchmarks/scaling.py`.

Prints a Markdown table of milliseconds per step, strong scaling (one global batch, shared) and weak scaling (the same
batch on every device), each count in a process of its own. Without accelerators the devices are simulated on the CPU's
cores (XLA_FLAGS=--xla_force_host_platform_device_count): then it shows what splitting costs, not what it gains, since
all of them share those cores.
"""

import argparse
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

from benchmarks import timing

COUNTS = (1, 2, 4, 8)
REPEATS = 5


def print_milliseconds(devices, batch, size):
    """In a process of its own, since the number of simulated devices is fixed when JAX starts."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    import jax

    from benchmarks.our_model import Ours, configuration, sources

    if len(jax.devices()) < devices:
        print("nan")
        return
    ours = Ours(configuration("logit"), sources(batch, size), devices=devices)
    ours.step()
    print(1e3 * timing.median_seconds(ours.step, REPEATS), jax.devices()[0].device_kind)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="global batch of strong, a device's batch / 8 of weak")
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--of", type=int, help="used by the command itself")
    args = parser.parse_args()
    if args.of:
        print_milliseconds(args.of, args.batch, args.size)
        return

    def measure(devices, batch):
        line = timing.child("--of", str(devices), "--batch", str(batch), "--size", str(args.size)).split(maxsplit=1)
        return float(line[0]), line[-1]

    strong = {devices: measure(devices, args.batch) for devices in COUNTS}
    weak = {devices: measure(devices, args.batch * devices // COUNTS[-1]) for devices in COUNTS}
    print(f"{strong[1][1]}, {args.size}x{args.size}; medians of {REPEATS}\n")
    rows = [
        [
            devices,
            f"{strong[devices][0]:.0f}",
            f"{strong[devices][0] / strong[1][0]:.2f}",
            args.batch * devices // COUNTS[-1],
            f"{weak[devices][0]:.0f}",
            f"{weak[devices][0] / weak[1][0] / devices:.2f}",
        ]
        for devices in COUNTS
    ]
    timing.print_table(
        ["devices", f"batch {args.batch}, ms", "times 1 device", "batch that grows", "ms", "ms a pair, times 1 device"],
        rows,
    )


if __name__ == "__main__":
    main()
