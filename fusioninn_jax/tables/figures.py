"""Figures 3, 4 and 5 of the paper as PNG and PDF. The drawing functions take arrays; `run` finds the images.

Images are (H, W) in [0, 1], masks (H, W) with the tumour's labels above 0, or None; see `panels`.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from matplotlib.figure import Figure

from fusioninn_jax import input_pipeline, losses
from fusioninn_jax.anatomy import brain
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.ssim import ssim
from fusioninn_jax.tables import published, systems
from fusioninn_jax.tables.panels import Panel, grid, save
from fusioninn_jax.trained_model import TrainedModel


class Fusion(NamedTuple):
    """A pair and what a system makes of it; `decomposed` is empty where it cannot."""

    sources: tuple[np.ndarray, ...]
    fused: np.ndarray
    decomposed: tuple[np.ndarray, ...] = ()


def _score(a: np.ndarray, b: np.ndarray) -> float:
    return float(ssim(jnp.asarray(a)[None, ..., None], jnp.asarray(b)[None, ..., None])[0])


def _with_sources(title: str, image: np.ndarray, sources: tuple[np.ndarray, ...]) -> Panel:
    """A fused image with its SSIM to each source."""
    return Panel(title, image, " / ".join(f"{_score(source, image):.3f}" for source in sources))


def _decomposed(modalities: Sequence[str], fusion: Fusion) -> list[Panel]:
    """Each decomposed source with its SSIM to the true one."""
    return [
        Panel(f"{name}, decomposed", image, f"{_score(source, image):.3f}")
        for name, source, image in zip(modalities, fusion.sources, fusion.decomposed, strict=True)
    ]


def figure3(
    sources: tuple[np.ndarray, ...],
    fused: dict[str, np.ndarray],
    modalities: Sequence[str],
    mask: np.ndarray | None = None,
    columns: int = 5,
) -> Figure:
    """Figure 3: the sources, then the image fused by each system, with its SSIM to each source.

    Args:
      sources: of one pair.
      fused: label -> image, raw.
      modalities: names of the sources.
      mask: of the tumour.
      columns: panels in a row.
    """
    panels = [Panel(name, image) for name, image in zip(modalities, sources, strict=True)]
    panels += [_with_sources(label, image, sources) for label, image in fused.items()]
    panels += [Panel("", None)] * (-len(panels) % columns)
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    return grid(rows, [mask] * len(rows))


def figure4(results: dict[str, Fusion], modalities: Sequence[str], mask: np.ndarray | None = None) -> Figure:
    """Figure 4: a column for each setting (λ in the paper), fused above, decomposed below; the sources at the left.

    Args:
      results: setting -> what that model makes of the same pair.
      modalities: names of the sources.
      mask: of the tumour.
    """
    first = next(iter(results.values()))
    left = [Panel("", None), *[Panel(name, image) for name, image in zip(modalities, first.sources, strict=True)]]
    columns = [left] + [
        [_with_sources(setting, fusion.fused, fusion.sources), *_decomposed(modalities, fusion)]
        for setting, fusion in results.items()
    ]
    rows = [list(row) for row in zip(*columns, strict=True)]
    return grid(rows, [mask] * len(rows))


def figure5(patients: Sequence[Fusion], modalities: Sequence[str], masks: Sequence[np.ndarray | None]) -> Figure:
    """Figure 5: a row a patient: sources, fused image, decomposed sources; the tumour outlined.

    Args:
      patients: what a model makes of each pair, of modalities that it may never have been trained on.
      modalities: names of the sources, "DWI-ADC" and "T2-FLAIR" in the paper.
      masks: a tumour for each patient, or None.
    """
    rows = [
        [
            *[Panel(name, image) for name, image in zip(modalities, fusion.sources, strict=True)],
            _with_sources("fused", fusion.fused, fusion.sources),
            *_decomposed(modalities, fusion),
        ]
        for fusion in patients
    ]
    return grid(rows, masks)


def apply(trained: TrainedModel, stack: np.ndarray) -> Fusion:
    """What `trained` makes of the sources in `stack` (H, W, M); it decomposes with a fresh latent of its own prior."""
    sources = [jnp.asarray(stack[None, ..., i : i + 1]) for i in range(stack.shape[-1])]
    model = any_size(trained.model)
    fused, latent = jax.jit(model.fuse)(trained.variables, *sources)
    decomposed: tuple[jax.Array, ...] = ()
    if latent is not None and model.decompose is not None:
        fresh = losses.sample_prior(trained.prior, jax.random.key(trained.config.seed), latent.shape)
        decomposed = jax.jit(model.decompose)(trained.variables, fused, fresh)

    def plain(image: jax.Array) -> np.ndarray:
        return np.asarray(image)[0, ..., 0]

    return Fusion(tuple(map(plain, sources)), plain(fused), tuple(map(plain, decomposed)))


def _clearest_slices(
    prepared: input_pipeline.Prepared, data: ml_collections.ConfigDict, split: str, count: int
) -> list[dict[str, Any]]:
    """The slice with the most tumour (without any mask: the most brain) of each of the first `count` subjects."""
    best: dict[str, tuple[tuple[int, int], dict[str, Any]]] = {}
    for batch in input_pipeline.evaluation_batches(prepared, data.data, split, batch_size=1):
        example = {name: values[0] for name, values in batch.items()}
        area = int((example["mask"] > 0).sum()), int(brain.inside(example["sources"]).sum())
        subject = example["subject"].decode()
        if subject not in best or area > best[subject][0]:
            best[subject] = area, example
    ordered = sorted(best.values(), key=lambda found: found[0], reverse=True)
    return [example for _, example in ordered[:count]]


def _mask(example: Mapping[str, np.ndarray]) -> np.ndarray | None:
    return example["mask"][..., 0] if example["mask"].any() else None


@dataclasses.dataclass(frozen=True)
class FiguresRequest:
    """What `report figures` is asked for.

    Attributes:
      workdirs: of trainings.
      split: of the dataset.
      dataset: name/config of a prepared dataset; None for the one trained on.
      data_dir: where datasets are prepared; None for where they were in training.
      patients: rows of Figure 5.
      out: folder of the figures; None for runs/figures.
    """

    workdirs: tuple[str, ...]
    split: str = "test"
    dataset: str | None = None
    data_dir: str | None = None
    patients: int = 2
    out: pathlib.Path | None = None


def _run_command(args: argparse.Namespace, overrides: Sequence[str]) -> pathlib.Path:
    if overrides:
        raise UserError(f"{overrides[0]}: figures are of trained runs; their settings cannot be changed")
    return run(FiguresRequest(tuple(args.workdirs), args.split, args.dataset, args.data_dir, args.patients, args.out))


def run(asked: FiguresRequest) -> pathlib.Path:
    """Draws what the given workdirs allow; returns the folder.

    Args:
      asked: what is asked for.

    Raises:
      UserError: as `systems`.
    """
    compared = systems.load([pathlib.Path(workdir) for workdir in asked.workdirs], [])
    data = systems.data_config(compared, asked.dataset, asked.data_dir)
    prepared = input_pipeline.open_dataset(data.data)
    examples = _clearest_slices(prepared, data, asked.split, asked.patients)
    modalities = [published.MODALITIES.get(name, name) for name in prepared.modalities]
    pair, mask = examples[0]["sources"], _mask(examples[0])
    one_each = {system.name: system.trained for system in reversed(compared)}
    results = {
        published.DISPLAY_NAMES.get(name, name): apply(one_each[name], pair)
        for name in dict.fromkeys([*published.TABLE1, *one_each])
        if name in one_each
    }
    out = asked.out or pathlib.Path("runs") / "figures"
    fused = {label: fusion.fused for label, fusion in results.items()}
    save(figure3(next(iter(results.values())).sources, fused, modalities, mask), out, "figure3")
    inverse = sorted(
        (system.trained for system in compared if system.trained.model.decompose), key=lambda of: of.config.losses.lam
    )
    if inverse:
        by_weight = {f"λ = {trained.config.losses.lam:g}": apply(trained, pair) for trained in inverse}
        save(figure4(by_weight, modalities, mask), out, "figure4")
        decomposed = [apply(inverse[0], example["sources"]) for example in examples]
        save(figure5(decomposed, modalities, [_mask(example) for example in examples]), out, "figure5")
    return out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Gives `parser` the command line of `report figures`."""
    parser.add_argument(
        "--workdirs",
        nargs="+",
        required=True,
        help="of trainings: one of each system for Figure 3, FusionINN with several λ for Figure 4",
    )
    parser.add_argument("--split", default="test", help="train, validation or test")
    parser.add_argument("--dataset", help="name/config of a prepared dataset; of other modalities for Figure 5")
    parser.add_argument("--data-dir", help="where datasets are prepared; default: as in training")
    parser.add_argument("--patients", type=int, default=2, help="rows of Figure 5")
    parser.add_argument("--out", type=pathlib.Path, help="folder of the figures; default: runs/figures")
    parser.set_defaults(run=_run_command)
