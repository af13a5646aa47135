"""Training from arrays alone, for a machine that has an accelerator and no TensorFlow: the package's own step.

    python benchmarks/device_training.py export --data_dir=runs/data --dataset=brats/real --out=real.npz
    python benchmarks/device_training.py train --arrays=real.npz --leave_out=PATIENT,PATIENT --steps=6000 \
        --out=runs/real0 --config.seed=0 --config.augment.gain=0.4

`export` writes the slices of all splits of a prepared dataset, each brought to [0, 1], as 10 bits. `train` takes random
crops about the brain as the input pipeline does (in another order), and `parallel.make_train_step`. At the end it
writes a model as `python -m fusioninn_jax.pretrained` does, which `benchmarks/conspicuity.py --files=runs/real0` reads,
and prints the steps a second and the scores of those left out and of `--score`.
"""

import argparse
import io
import lzma
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # to run from a clone that is not installed

import jax
import numpy as np

from fusioninn_jax import models, objective, pretrained, settings, storage
from fusioninn_jax.anatomy import brain
from fusioninn_jax.input_pipeline import BRAIN_MARGIN
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.runtime import command_line, errors
from fusioninn_jax.ssim import ssim
from fusioninn_jax.training import parallel, train_state

LEVELS = 1023  # of a stored source


def pack(sources):
    """(N, H, W, M) in [0, 1] as bytes: differences of neighbours, low and high byte apart, compressed."""
    values = np.round(sources * LEVELS).astype(np.int32)
    steps = np.diff(values, axis=2, prepend=0)
    steps = np.where(steps >= 0, 2 * steps, -2 * steps - 1).astype(np.uint16)
    return np.frombuffer(lzma.compress(np.stack([steps & 255, steps >> 8]).astype(np.uint8).tobytes()), np.uint8)


def unpack(content, shape):
    """Undoes `pack`, (N, H, W, M) uint16."""
    low, high = np.frombuffer(lzma.decompress(content.tobytes()), np.uint8).reshape(2, *shape).astype(np.int32)
    steps = low + 256 * high
    return np.cumsum(np.where(steps % 2, -(steps + 1) // 2, steps // 2), axis=2).astype(np.uint16)


def export(args):
    """All slices of a prepared dataset to one file."""
    from fusioninn_jax import input_pipeline  # brings in TensorFlow

    config = settings.defaults("data")
    config.update({"data_dir": args.data_dir, "dataset": args.dataset})
    prepared = input_pipeline.open_dataset(config)
    sources, subjects = [], []
    for split in prepared.sizes:
        for batch in input_pipeline.evaluation_batches(prepared, config, split, batch_size=8):
            kept = batch["weight"] > 0
            sources.append(batch["sources"][kept])
            subjects += [name.decode() for name in batch["subject"][kept]]
    sources = np.concatenate(sources)
    rows, columns = brain.bounding_box(brain.inside(sources).any((0, -1)), (0, 0))
    sources = sources[:, rows, columns]
    np.savez(args.out, packed=pack(sources), shape=sources.shape, subjects=np.array(subjects))
    megabytes = pathlib.Path(args.out).stat().st_size / 1e6
    print(f"{len(sources)} slices of {sources.shape[1:]} in {args.out}, {megabytes:.1f} MB")


class Crops:
    """Random crops about the brain, every slice once before any comes again."""

    def __init__(self, sources, size, seed):
        self.sources, self.size, self.rng, self.order = sources, size, np.random.default_rng(seed), []
        self.extents = []
        for axis in (1, 2):
            inside = (sources > 0).any((3 - axis, 3))
            last = inside.shape[1] - 1 - inside[:, ::-1].argmax(1)
            low = np.clip(inside.argmax(1) - BRAIN_MARGIN, 0, inside.shape[1] - size)
            self.extents.append((low, np.clip(last + 1 + BRAIN_MARGIN - size, low, inside.shape[1] - size)))

    def batch(self, count):
        while len(self.order) < count:
            self.order += self.rng.permutation(len(self.sources)).tolist()
        chosen, self.order = self.order[:count], self.order[count:]
        result = np.empty((count, self.size, self.size, self.sources.shape[-1]), np.float32)
        for i, number in enumerate(chosen):
            r, c = (self.rng.integers(low[number], high[number] + 1) for low, high in self.extents)
            result[i] = self.sources[number, r : r + self.size, c : c + self.size] / np.float32(LEVELS)
        return result


def decomposition(model, variables, sources, batch=6):
    """Mean decomposed SSIM inside the brain of slices (N, H, W, M) in [0, 1], from 8 bits with a fresh latent."""

    @jax.jit
    def score(variables, stack, key):
        images = objective.split_sources(stack)
        fused, latent = model.fuse(variables, *images)
        back = model.decompose(variables, storage.store(fused, 8), jax.random.normal(key, latent.shape))
        mask = brain.brain_mask(images)
        return [ssim(image, decoded, mask=mask) for image, decoded in zip(images, back, strict=True)]

    full = len(sources) // batch * batch or len(sources)
    batches = np.split(sources[:full], max(full // batch, 1))
    values = [np.array(score(variables, stack, jax.random.key(i))) for i, stack in enumerate(batches)]
    return np.concatenate(values, 1).mean(1)


def read(path):
    """What `export` wrote: (N, H, W, M) uint16 and the subject of each slice."""
    stored = np.load(io.BytesIO(pathlib.Path(path).read_bytes()))
    return unpack(stored["packed"], tuple(stored["shape"])), stored["subjects"]


def train(args):
    """Trains, writes the model, scores the patients that were left out."""
    config = settings.defaults()
    command_line.override(config, args.overrides)
    sources, subjects = read(args.arrays)
    out = np.isin(subjects, args.leave_out.split(","))
    crops = Crops(sources[~out], args.crop, config.seed)
    devices = jax.devices()[:1]
    model = models.get(config.model.name, config.model[config.model.name])
    optimizer = train_state.make_optimizer(config.optimizer, args.steps)
    key = jax.random.key(config.seed)
    variables = parallel.initialise(model, key, crops.batch(args.batch), devices)
    if config.start:
        variables = pretrained.weights_for(config.start, variables, config)
    state = parallel.replicate(train_state.create(variables, optimizer, config.optimizer), devices)
    step = parallel.make_train_step(model, optimizer, config, devices)
    start = time.perf_counter()
    for number in range(args.steps):
        batch = objective.Slices(parallel.split_batch(crops.batch(args.batch), 1))
        state, metrics = step(state, batch, key)
        if number == 0:
            print(f"compiled in {time.perf_counter() - start:.0f} s on {devices[0].device_kind}", flush=True)
            start = time.perf_counter()
        if args.seconds and time.perf_counter() - start > args.seconds:
            raise SystemExit(f"{args.out}: only {number} of {args.steps} steps in {args.seconds} s; nothing kept")
        if (number + 1) % max(args.steps // 8, 1) == 0:
            rate = number / (time.perf_counter() - start)
            print(f"step {number + 1}: loss {float(metrics['loss']):.4f}, {rate:.1f} steps/s", flush=True)
    variables = jax.device_get(state.evaluated)
    pretrained.save(args.out, variables, pretrained.describe(config, ("t1gd", "flair")))
    for unseen, names in [(sources[out], subjects[out]), *map(read, args.score)]:
        for name in sorted(set(names)):
            slices = (unseen[names == name][:: args.every] / LEVELS).astype(np.float32)
            scores = ", ".join(f"{value:.4f}" for value in decomposition(any_size(model), variables, slices))
            print(f"{args.out} {name}: decomposed SSIM in the brain {scores}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("export")
    command.set_defaults(run=export)
    command.add_argument("--data_dir", default="runs/data")
    command.add_argument("--dataset", required=True)
    command.add_argument("--out", required=True)
    command = commands.add_parser("train")
    command.set_defaults(run=train)
    command.add_argument("--arrays", required=True, help="that `export` wrote")
    command.add_argument("--leave_out", default="", help="patients, set apart by commas")
    command.add_argument("--out", required=True, help="folder of the model")
    command.add_argument("--score", action="append", default=[], help="further arrays to be scored; repeatable")
    command.add_argument("--every", type=int, default=5, help="score every so many slices of a patient")
    command.add_argument("--steps", type=int, default=3000)
    command.add_argument("--batch", type=int, default=8)
    command.add_argument("--crop", type=int, default=64)
    command.add_argument("--seconds", type=float, default=0, help="give up after so many; 0: never")
    args, overrides = parser.parse_known_args()
    for argument in overrides:
        if args.run is export or not argument.startswith("--config."):
            parser.error(f"{argument}: unknown")
    args.run(argparse.Namespace(**vars(args), overrides=overrides))
    return 0


if __name__ == "__main__":
    errors.cli(main)
