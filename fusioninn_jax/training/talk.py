"""What a training tells a person: what it works on, how it goes, what came of it and what comes next."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import ml_collections

from fusioninn_jax.input_pipeline import Prepared
from fusioninn_jax.models import Variables
from fusioninn_jax.runtime.devices import described
from fusioninn_jax.runtime.words import counted
from fusioninn_jax.score_names import BRAIN, of_decomposed, of_fused


def opening(
    devices: Sequence[jax.Device],
    prepared: Prepared,
    config: ml_collections.ConfigDict,
    variables: Variables,
    step: int,
    workdir: str,
) -> list[str]:
    """Devices, data, model and plan, a line each.

    Args:
      devices: of all processes.
      prepared: the dataset.
      config: `settings.TRAINING`, as training records it.
      variables: of the model.
      step: from which it goes on.
      workdir: where it writes.
    """
    train, every = prepared.sizes.get("train", 0), config.train.eval_every
    validation = prepared.sizes.get("validation")
    size = sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
    passes = config.train.steps * config.train.batch_size / max(train, 1)
    return [
        described(devices),
        f"data: {config.data.dataset} ({', '.join(prepared.modalities)}), {counted(train, 'slice')} to train on, "
        + (f"{counted(validation, 'slice')} to validate" if validation else "and to validate, as there are no others"),
        f"model: {config.model.name}, {size:,} parameters",
        f"plan: {counted(config.train.steps, 'step')} of {counted(config.train.batch_size, 'slice')}, "
        f"{passes:.3g} times through the data; scores and a checkpoint every {counted(every, 'step')}, in {workdir}",
        f"resuming at step {step} of {config.train.steps}"
        if step
        else f"starting from {config.start or 'random weights'}",
    ]


def scores(step: int, means: Mapping[str, float], modalities: Sequence[str]) -> str:
    """One line for an evaluation: loss, and similarity inside the brain.

    Args:
      step: of the evaluation.
      means: score -> its mean over the split.
      modalities: names of the sources.
    """
    parts = [f"loss {means['loss']:.4f}"] if "loss" in means else []
    sources = range(1, len(modalities) + 1)
    for title, names in (
        ("fused", [of_fused(i) + BRAIN for i in sources]),
        ("decomposed", [_decomposed(means, i) for i in sources]),
    ):
        if all(name in means for name in names):
            parts.append(f"{title} " + " / ".join(f"{means[name]:.3f}" for name in names))
    where = f" (SSIM inside the brain, {' / '.join(modalities)})" if len(parts) > 1 else ""
    return f"step {step}: validation {'; '.join(parts)}{where}"


def _decomposed(means: Mapping[str, float], source: int) -> str:
    """The name of the decomposed source's SSIM, however training kept the fused image."""
    found = [name for name in means if name.startswith(of_decomposed("ssim", source, "")) and name.endswith(BRAIN)]
    return found[0] if found else ""


@contextlib.contextmanager
def compiling(say: Callable[[str], object], what: str = "the training step") -> Iterator[None]:
    """Tells that something is compiled in the block, and how long that took.

    Args:
      say: prints a line.
      what: is compiled.
    """
    say(f"compiling {what} ...")
    started = time.monotonic()
    yield
    say(f"compiled in {duration(time.monotonic() - started)}")


def closing(
    workdir: str,
    prepared: Prepared,
    step: int,
    seconds: float,
    kept: Sequence[int],
    evaluations: Sequence[Mapping[str, Any]],
) -> str:
    """Where the last and the best checkpoint lie, the scores of the best, and what comes next.

    Args:
      workdir: of the run.
      prepared: the dataset.
      step: the last.
      seconds: that training took.
      kept: steps of the checkpoints that there are.
      evaluations: records of `metrics.jsonl`.
    """
    split = next((name for name in ("test", "validation") if prepared.sizes.get(name)), "train")
    return "\n".join(
        [
            f"trained to step {step} in {duration(seconds)}; checkpoints, log and TensorBoard files in {workdir}",
            *_best(step, kept, evaluations, prepared.modalities),
            f"next: python -m fusioninn_jax.evaluate --workdir={workdir} --split={split}",
        ]
    )


def _best(
    last: int, kept: Sequence[int], evaluations: Sequence[Mapping[str, Any]], modalities: Sequence[str]
) -> list[str]:
    """Which checkpoint `evaluate` takes, and its scores; nothing where none was evaluated."""
    found = [record for record in evaluations if record["step"] in kept and "loss" in record]
    if not found:
        return []
    best = min(found, key=lambda record: record["loss"])
    which = "last and best" if best["step"] == last else f"last, step {last}; best"
    return [f"checkpoints: {which}, {scores(best['step'], best, modalities)}"]


def duration(seconds: float) -> str:
    """`45 s`, `12 min`, `3.2 h`.

    Args:
      seconds: from 0 on.
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
