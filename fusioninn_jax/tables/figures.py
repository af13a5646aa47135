"""Figures 3, 4 and 5 of the paper as PNG and PDF. The drawing functions take arrays; `run` finds the images.

Images are (H, W) in [0, 1], masks (H, W) with the tumour's labels above 0, or None. Where there is a mask the tumour
is outlined in red, and a green box with its contents enlarged shows it.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fusioninn_jax import input_pipeline, losses
from fusioninn_jax.anatomy import brain
from fusioninn_jax.models.padding import any_size
from fusioninn_jax.runtime import outputs
from fusioninn_jax.runtime.errors import UserError
from fusioninn_jax.ssim import ssim
from fusioninn_jax.tables import published, systems
from fusioninn_jax.trained_model import TrainedModel

BOX_MARGIN = 1.3  # the box's side over the tumour's extent
SMALLEST_BOX = 24  # pixels
ZOOM_SHARE = 0.42  # of the panel's side that the enlarged box takes
PANEL_INCHES = 1.9


class Panel(NamedTuple):
    """One image of a figure: its title, pixels, and a line of text inside it."""

    title: str
    image: np.ndarray | None
    text: str = ""


class Fusion(NamedTuple):
    """A pair and what a system makes of it; `decomposed` is empty where it cannot."""

    sources: tuple[np.ndarray, ...]
    fused: np.ndarray
    decomposed: tuple[np.ndarray, ...] = ()


def _score(a: np.ndarray, b: np.ndarray) -> float:
    return float(ssim(jnp.asarray(a)[None, ..., None], jnp.asarray(b)[None, ..., None])[0])


def tumour_box(mask: np.ndarray | None) -> tuple[int, int, int] | None:
    """(row, column, side) of a square about the tumour in `mask` (H, W), inside the image; None without tumour."""
    if mask is None or not mask.any():
        return None
    rows, columns = np.nonzero(mask)
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    side = int(min(max(BOX_MARGIN * extent, SMALLEST_BOX), *mask.shape))
    middle = ((rows.min() + rows.max()) // 2, (columns.min() + columns.max()) // 2)
    row, column = (
        int(np.clip(centre - side // 2, 0, length - side)) for centre, length in zip(middle, mask.shape, strict=True)
    )
    return row, column, side


def _draw(axis: Axes, panel: Panel, mask: np.ndarray | None) -> None:
    """One panel: the image, its text, the tumour's outline, the box and its contents enlarged."""
    axis.set_axis_off()
    if panel.image is None:
        return
    axis.set_title(panel.title, fontsize=8, pad=3)
    axis.imshow(panel.image, cmap="gray", vmin=0, vmax=1)
    axis.text(0.02, 0.98, panel.text, color="white", fontsize=7, va="top", transform=axis.transAxes)
    box = tumour_box(mask)
    if box is None or mask is None:
        return
    row, column, side = box
    axis.contour(mask > 0, levels=[0.5], colors="red", linewidths=0.6)
    axis.add_patch(Rectangle((column - 0.5, row - 0.5), side, side, fill=False, edgecolor="lime", linewidth=0.8))
    zoom = axis.inset_axes((1 - ZOOM_SHARE, 0, ZOOM_SHARE, ZOOM_SHARE))
    zoom.imshow(panel.image[row : row + side, column : column + side], cmap="gray", vmin=0, vmax=1)
    zoom.set(xticks=[], yticks=[])
    for spine in zoom.spines.values():
        spine.set(edgecolor="lime", linewidth=0.8)


def grid(rows: Sequence[Sequence[Panel]], masks: Sequence[np.ndarray | None]) -> Figure:
    """A figure of panels; `rows` are of equal length, and `masks` has one (H, W), or None, for each of them."""
    count, length = len(rows), len(rows[0])
    figure, axes = plt.subplots(
        count, length, figsize=(PANEL_INCHES * length, (PANEL_INCHES + 0.2) * count), squeeze=False
    )
    for line, panels, mask in zip(axes, rows, masks, strict=True):
        for axis, panel in zip(line, panels, strict=True):
            _draw(axis, panel, mask)
    figure.tight_layout(pad=0.3)
    return figure


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


def save(figure: Figure, folder: pathlib.Path, stem: str) -> list[pathlib.Path]:
    """Writes `figure` to `folder` as `stem`.png and .pdf, and closes it; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.{ending}" for ending in ("png", "pdf")]
    with outputs.new_files(*paths) as temporaries:
        for temporary in temporaries:
            figure.savefig(temporary, dpi=200, bbox_inches="tight")
    plt.close(figure)
    return paths


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


def _mask(example: dict[str, Any]) -> np.ndarray | None:
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
