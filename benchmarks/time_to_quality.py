"""Time to quality: seconds of training until both sources come back so well, ours beside the authors' form.

    pip install -e '.[bench]'
    python benchmarks/device_training.py export --dataset=brain_phantom/default --out=phantom.npz
    python benchmarks/time_to_quality.py --arrays=phantom.npz --leave_out=PATIENT,PATIENT --steps=1500

Both train from random weights on the same 64x64 crops, batch 8: our default, and the `official` flow with the paper's
losses and its own rate (also at the rate given by --official_rate). After every --every steps: SSIM inside the brain of
the decomposed sources of the patients left out, worse source; ours from 8 bits, `official` from its float image, which
is kind to it. A step of `official` is the same mathematics here and in PyTorch (tests/golden), so its curve is taken
with this package and its seconds are those of PyTorch's fastest form, measured in this run, interleaved with ours.
"""

import argparse
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import numpy as np

from benchmarks import device_training, timing
from benchmarks.our_model import Ours, configuration
from fusioninn_jax import models, objective, settings, storage
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.runtime.errors import cli
from fusioninn_jax.runtime.host_memory import keep_freed_memory
from fusioninn_jax.ssim import ssim
from fusioninn_jax.training import parallel, train_state

BATCH, CROP = 8, 64
MARKS = (0.90, 0.95)
NEVER = float("inf")


def default():
    """Of `configs/phantom.py`."""
    config = settings.defaults()
    config.optimizer.warmup_steps = 100
    return config


def curve(config, crops, unseen, args, bits):
    """[(step, decomposed SSIM of the worse source)]."""
    device, model = jax.devices()[:1], models.get("fusioninn", config.model.fusioninn)
    optimizer = train_state.make_optimizer(config.optimizer, args.steps)
    variables = parallel.initialise(model, jax.random.key(0), crops.batch(BATCH), device)
    state = parallel.replicate(train_state.create(variables, optimizer, config.optimizer), device)
    step, found = parallel.make_train_step(model, optimizer, config, device), []
    whole = any_size(model)

    @jax.jit
    def score(variables, stack, key):
        images = objective.split_sources(stack)
        fused, latent = whole.fuse(variables, *images)
        kept = storage.store(fused, bits) if bits else fused
        back, brain = whole.decompose(variables, kept, jax.random.normal(key, latent.shape)), brain_mask(images)
        return [ssim(image, decoded, mask=brain).mean() for image, decoded in zip(images, back, strict=True)]

    for number in range(1, args.steps + 1):
        batch = objective.Slices(parallel.split_batch(crops.batch(BATCH), 1))
        state, _ = step(state, batch, jax.random.key(0))
        if number % args.every == 0:
            found.append((number, min(map(float, score(state.evaluated, unseen, jax.random.key(1))))))
            print(f"  step {number}: {found[-1][1]:.3f}", flush=True)
    return found


def seconds_of_a_step(config, repeats):
    """Of ours, and of each form in PyTorch, interleaved."""
    from benchmarks.torch_model import FORMS, Torch

    pairs = np.concatenate([timing.brains(seed, BATCH, CROP) for seed in (1, 2)], -1)
    sides = {"ours": Ours(config, pairs)} | {form: Torch(form, pairs.transpose(0, 3, 1, 2)) for form in FORMS}
    for side in sides.values():
        side.step()  # compiles
    with timing.watched():
        return timing.interleaved({name: side.step for name, side in sides.items()}, repeats)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arrays", required=True, help="that `device_training.py export` wrote")
    parser.add_argument("--leave_out", required=True, help="patients, set apart by commas")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--every", type=int, default=100)
    parser.add_argument("--slices", type=int, default=8, help="of those left out, evenly chosen")
    parser.add_argument("--official_rate", type=float, default=3e-3, help="a second rate for the authors' form")
    parser.add_argument("--repeats", type=int, default=15)
    args = parser.parse_args()
    from benchmarks.torch_model import use_all_cores

    use_all_cores()
    keep_freed_memory()
    sources, subjects = device_training.read(args.arrays)
    out = np.flatnonzero(np.isin(subjects, args.leave_out.split(",")))
    chosen = out[np.linspace(0, len(out) - 1, args.slices).astype(int)]
    unseen = (sources[chosen] / device_training.LEVELS).astype(np.float32)
    own = seconds_of_a_step(default(), args.repeats)
    best = min((value, name) for name, value in own.items() if name != "ours")
    print(", ".join(f"{name} {1e3 * value:.0f} ms a step" for name, value in own.items()))
    faster = configuration("official")
    faster.optimizer.update(learning_rate=args.official_rate, schedule="cosine", clip_norm=1.0)
    runs = {
        "our default": (default(), own["ours"], 8),
        f"official, PyTorch {best[1]}": (configuration("official"), best[0], 0),
        f"official at {args.official_rate:g}, cosine, PyTorch {best[1]}": (faster, best[0], 0),
    }
    rows = []
    for name, (config, seconds, bits) in runs.items():
        print(name, flush=True)
        crops = device_training.Crops(np.delete(sources, out, 0), CROP, 0)
        found = curve(config, crops, unseen, args, bits)
        first = [min((step for step, value in found if value >= mark), default=NEVER) * seconds for mark in MARKS]
        rows.append([name, *(f"{value:.0f}" if value < NEVER else "not reached" for value in first),
                     f"{found[-1][1]:.3f} after {args.steps * seconds:.0f} s"])  # fmt: skip
    timing.print_table(["training", *(f"seconds to {mark}" for mark in MARKS), "at the end"], rows)


if __name__ == "__main__":
    cli(main)
