"""What `fuse` and `decompose` say at their end: which model did it, and the commands that come next."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Sequence

from fusioninn_jax.formats import files
from fusioninn_jax.studies.fusing_files import StudyFusion
from fusioninn_jax.trained_model import TrainedModel

DECOMPOSE, PAGE = "python -m fusioninn_jax.decompose", "python -m fusioninn_jax.report study"


def model(checkpoint: str | None, trained: TrainedModel | None) -> str:
    """Which model was used.

    Args:
      checkpoint: the folder that was given; None for the model that ships.
      trained: what was loaded; None for an archive that no model fused.
    """
    if trained is None:
        return "no model, the picture is the mean"
    if checkpoint is None:
        return f"the {trained.name} that ships with the package"
    return f"{trained.name} of {checkpoint}" + (f", step {trained.step}" if trained.step >= 0 else "")


def after_fusing(asked: StudyFusion, checkpoint: str | None, trained: TrainedModel | None) -> list[str]:
    """The command that gives the series back, and the one that shows them; nothing where the model gives none back.

    Args:
      asked: what was fused.
      checkpoint: the folder that was given; None for the model that ships.
      trained: the model; None for an archive that no model fused.
    """
    if trained is not None and trained.model.decompose is None:
        return []
    names = [_beside(asked.output, f"source_{i}") for i, _ in enumerate(asked.sources, 1)]
    model_flag = _flag("--checkpoint", checkpoint)
    latent = _flag("--latent", asked.latent)
    back = [asked.output, "-o", *names, *latent, *([] if asked.lossless else model_flag)]
    page = [*asked.sources, *model_flag, *_reading(asked), "-o", asked.output.with_name("study.html")]
    return [f"next: {DECOMPOSE} {_line(back)}", f"  or: {PAGE} {_line(page)}"]


def after_fusing_all(
    output: pathlib.Path, patterns: Sequence[str], latents: bool, checkpoint: str | None, trained: TrainedModel | None
) -> list[str]:
    """The command that gives the series of all studies back; nothing where the model gives none back.

    Args:
      output: the folder of the fused images.
      patterns: one for each series.
      latents: whether these were kept.
      checkpoint: the folder that was given; None for the model that ships.
      trained: the model; None for archives that no model fused.
    """
    if trained is not None and trained.model.decompose is None:
        return []
    names = [f"source_{i}" for i, _ in enumerate(patterns, 1)]
    more = [*(["--with-latents"] if latents else []), *_flag("--checkpoint", checkpoint)]
    back = ["--studies", output, "--names", *names, *more, "-o", output.with_name(f"{output.name}_back")]
    return [f"next: {DECOMPOSE} {_line(back)}"]


def after_decomposing(sources: int, checkpoint: str | None) -> str:
    """The command that shows what came back beside the originals.

    Args:
      sources: how many series came back.
      checkpoint: the folder that was given; None for the model that ships.
    """
    originals = [f"ORIGINAL_{i}" for i in range(1, sources + 1)]
    page = [*originals, *_flag("--checkpoint", checkpoint), "-o", "study.html"]
    return f"next: {PAGE} {_line(page)}, which shows it beside the originals"


def _beside(output: pathlib.Path, name: str) -> pathlib.Path:
    """A path in the folder of the output, of its format."""
    ending = next((end for end in reversed(files.NIFTI_ENDINGS) if output.name.lower().endswith(end)), output.suffix)
    return output.with_name(name + ending)


def _flag(name: str, value: object) -> list[object]:
    return [] if value is None else [name, value]


def _reading(asked: StudyFusion) -> list[object]:
    """The flags that say how the series are read."""
    inverted = ",".join(map(str, asked.inverted)) or None
    flags = [*_flag("--invert", inverted), *_flag("--fill-value", asked.fill_value)]
    return [*(["--resample"] if asked.resample else []), *flags]


def _line(words: Sequence[object]) -> str:
    return shlex.join(map(str, words))
