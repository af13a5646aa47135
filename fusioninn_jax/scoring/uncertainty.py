"""Calibrates a trained model's uncertainty: `python -m fusioninn_jax.scoring.uncertainty --workdir=runs/brats`.

Learns on validation slices how large the error of a decomposed pixel is where its draws spread so much, from a fused
image of 8 bits, and keeps that beside the checkpoints: `calibration.json`. Prints what share of the brain pixels of
`--split` then lies in the intervals, patient by patient.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from fusioninn_jax import input_pipeline, objective, pretrained, storage, volumes
from fusioninn_jax.anatomy.brain import brain_mask
from fusioninn_jax.models import FusionModel, Variables
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.runtime.errors import Parser, UserError, cli
from fusioninn_jax.trained_model import TrainedModel, calibration
from fusioninn_jax.trained_model.calibration import Calibration

SAMPLES = 16
SHOWN = (0.5, 0.8, 0.95)  # levels that the table prints

EXAMPLES = """
python -m fusioninn_jax.scoring.uncertainty --workdir=runs/brats --split=test
"""


class Pixels(NamedTuple):
    """Brain pixels of a split, in units of their slice's range: (N, m), but `subjects`, (N,) names."""

    mean: np.ndarray  # of the draws
    spread: np.ndarray  # of the draws, their standard deviation
    truth: np.ndarray
    subjects: np.ndarray

    @property
    def error(self) -> np.ndarray:
        """Of the mean."""
        return self.mean - self.truth


def draws(
    model: FusionModel, variables: Variables, stack: jax.Array, key: jax.Array, samples: int
) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation (of `samples` - 1 degrees of freedom) over draws from a fused image of 8 bits.

    Args:
      model: one that decomposes.
      variables: its variables.
      stack: (B, H, W, m) sources in [0, 1].
      key: of the draws.
      samples: how many, 2 at least.

    Returns:
      two arrays (B, H, W, m).
    """
    fused, _ = jax.jit(any_size(model).fuse)(variables, *objective.split_sources(stack))
    units = jnp.broadcast_to(jnp.array([0.0, 1.0]), (len(stack), stack.shape[-1], 2))
    stored = volumes.from_fused(storage.store(fused[..., 0], 8), units, model.multiple)
    mean, spread = volumes.decompose_samples(model, variables, stored, key=key, samples=samples)
    return jnp.moveaxis(mean, 0, -1), jnp.moveaxis(spread, 0, -1) * math.sqrt(samples / (samples - 1))


def collect(
    trained: TrainedModel, prepared: input_pipeline.Prepared, split: str, *, samples: int = SAMPLES, limit: int = 24
) -> Pixels:
    """Draws for every brain pixel of a split.

    Args:
      trained: a training's, one that decomposes.
      prepared: the dataset.
      split: which one.
      samples: draws.
      limit: slices, as of `input_pipeline.evaluation_batches`.

    Raises:
      UserError: no such split.
    """
    found: list[tuple[np.ndarray, ...]] = []
    model, variables, config = trained.model, trained.variables, trained.config.data
    batches = input_pipeline.evaluation_batches(prepared, config, split, batch_size=1, limit=limit)
    for batch in batches:
        stack = jnp.asarray(batch["sources"])
        key = jax.random.fold_in(jax.random.key(0), int(batch["number"][0]))
        brain = np.asarray(brain_mask(objective.split_sources(stack))[..., 0])
        mean, spread = (np.asarray(image)[brain] for image in draws(model, variables, stack, key, samples))
        found.append((mean, spread, np.asarray(stack)[brain], np.full(len(mean), batch["subject"][0].decode())))
    return Pixels(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def coverage_table(fitted: Calibration, pixels: Pixels, modalities: Sequence[str]) -> str:
    """Markdown: the share of pixels in the intervals, a row for each patient and one for all.

    Args:
      fitted: the calibration that gives the intervals.
      pixels: that it was not fitted to.
      modalities: names of the m sources.
    """
    heads = [f"{name}, {100 * level:.0f} %" for name in modalities for level in SHOWN]
    lines = [f"| patient | pixels | {' | '.join(heads)} |", "|---" * (len(heads) + 2) + "|"]
    for subject in (*np.unique(pixels.subjects), "all"):
        chosen = slice(None) if subject == "all" else pixels.subjects == subject
        shares = calibration.coverage(fitted, pixels.spread[chosen], pixels.error[chosen])
        rows = shares[[calibration.LEVELS.index(level) for level in SHOWN]].T.ravel()
        lines.append(f"| {subject} | {len(pixels.spread[chosen])} | {' | '.join(f'{100 * x:.1f}' for x in rows)} |")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Parses `argv` (None: the command line), calibrates and prints; returns the exit code."""
    from fusioninn_jax.training import checkpoint  # Orbax takes seconds to import

    parser = Parser(prog="python -m fusioninn_jax.scoring.uncertainty", description=__doc__, examples=EXAMPLES)
    parser.add_argument("--workdir", required=True, help="as given to train")
    parser.add_argument("--checkpoint", default="best", choices=("best", "last"), help="which of the training")
    parser.add_argument("--split", default="test", help="to try the intervals on")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="draws, 2 at least")
    parser.add_argument("--limit", type=int, default=24, help="slices of each split")
    args = parser.parse_args(argv)
    if args.samples < 2:
        parser.error(f"--samples={args.samples}: a spread takes 2 draws at least")
    trained = checkpoint.load(args.workdir, args.checkpoint)
    if trained.model.decompose is None:
        raise UserError(f"{args.workdir}: {trained.name} cannot decompose, so there is nothing to calibrate")
    prepared = input_pipeline.open_dataset(trained.config.data)

    def pixels(split: str) -> Pixels:
        return collect(trained, prepared, split, samples=args.samples, limit=args.limit)

    known = pixels("validation")
    try:
        fitted = calibration.fit(known.spread, known.error)
    except ValueError as error:
        raise UserError(f"{args.workdir}: {error}; give a larger --limit, or a larger validation split") from error
    path = calibration.save(args.workdir, fitted, pretrained.fingerprint(trained.variables, trained.config))
    print(f"written: {path}\n")
    print(coverage_table(fitted, pixels(args.split), prepared.modalities))
    return 0


if __name__ == "__main__":
    cli(main)
