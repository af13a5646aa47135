"""What the latent loss adds to a training step: `python benchmarks/latent_cost.py [--batch 8] [--size 64]`.

Prints a Markdown table of a step without latent loss, with `characteristic` and with `white`, the same pairs on every
device, each number of devices in a process of its own; calls interleaved, the least of some rounds. Processor time, not
wall time: simulated devices share this machine's cores, and so do other programs.
"""

import argparse
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

from benchmarks import timing

COUNTS = (1, 8)
LOSSES = ("none", "characteristic", "white")


def print_milliseconds(devices, batch, size, rounds):
    """Processor milliseconds of a step, one a loss; the number of simulated devices is fixed when JAX starts."""
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    from benchmarks.our_model import Ours, sources
    from fusioninn_jax import settings

    pairs, sides = sources(batch * devices, size), {}
    for name in LOSSES:
        config = settings.defaults()
        config.losses.latent = name
        sides[name] = Ours(config, pairs, devices=devices)
        sides[name].step()  # compiles
    times = {name: [] for name in LOSSES}
    for _ in range(rounds):
        for name, side in sides.items():
            before = time.process_time()
            side.step()
            times[name].append(1e3 * (time.process_time() - before))
    print(*(f"{min(times[name]):.1f}" for name in LOSSES))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="pairs a device")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--of", type=int, help="used by the command itself")
    args = parser.parse_args()
    if args.of:
        print_milliseconds(args.of, args.batch, args.size, args.rounds)
        return
    rows = []
    for devices in COUNTS:
        line = timing.child(
            "--of", str(devices), "--batch", str(args.batch), "--size", str(args.size), "--rounds", str(args.rounds)
        )
        alone, *others = map(float, line.split())
        rows.append([devices, f"{alone:.0f}", *(f"{value:.0f} (+{value / alone - 1:.1%})" for value in others)])
    timing.print_table(["devices", "none: processor ms a step", *LOSSES[1:]], rows)


if __name__ == "__main__":
    main()
