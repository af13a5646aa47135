"""Figures of one training: its curves, slices with error maps, patients side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from fusioninn_jax.anatomy import brain
from fusioninn_jax.score_names import BRAIN

ERROR_SPAN = 0.2  # error maps show 0 … this
MARGIN = 4  # pixels about the brain
GREY = {"cmap": "gray", "vmin": 0, "vmax": 1}
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "frameon": False}  # legends cover nothing


def curves(train: list[dict[str, Any]], evaluations: list[dict[str, Any]], modalities: Sequence[str]) -> Figure:
    """Training loss and its parts, and the validation SSIMs, by step.

    Args:
      train: the records of training steps, see `train_log`.
      evaluations: the records of evaluations.
      modalities: names of the sources.
    """
    figure = Figure(figsize=(9.6, 3.8))
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.36})
    steps = [record["step"] for record in train]
    for name in ("loss", "fusion", "decomposition"):
        left.plot(steps, [record[name] for record in train], label=name, linewidth=1)
    left.set(xlabel="step", ylabel="training loss", yscale="log")
    left.legend(ncol=3, **BELOW)
    steps, logged = [record["step"] for record in evaluations], list(evaluations[0]) if evaluations else []
    for i, modality in enumerate(modalities, 1):
        for kind, style, label in (
            ("fused", "--", f"fused, with {modality}"),
            ("decomposed", "-", f"{modality}, decomposed"),
        ):
            name = next((name for name in logged if name.startswith(f"ssim_{kind}_{i}") and name.endswith(BRAIN)), "")
            if name:
                values = [record[name] for record in evaluations]
                right.plot(steps, values, style, marker="o", markersize=3, color=f"C{i - 1}", label=label)
    right.set(xlabel="step", ylabel="validation SSIM inside the brain")
    if right.lines:
        right.legend(ncol=len(modalities), **BELOW)
    return figure


Column = tuple[str, np.ndarray, dict[str, Any]]  # title, (N, H, W), style


def _columns(examples: dict[str, np.ndarray], modalities: Sequence[str]) -> list[Column]:
    columns: list[Column] = [(name, examples["sources"][..., i], GREY) for i, name in enumerate(modalities)]
    columns += [("fused", examples["fused"][..., 0], GREY)]
    inside = brain.inside(examples["sources"])[..., 0]
    for i in range(examples["latent"].shape[-1] if "latent" in examples else 0):
        latent = examples["latent"][..., i]
        centre, spread = (latent[inside].mean(), 3 * latent[inside].std()) if inside.any() else (0, 1)
        style = {"cmap": "RdBu_r", "vmin": centre - spread, "vmax": centre + spread}
        columns.append(("latent", latent, style))
    if "decomposed" in examples:
        back, magma = examples["decomposed"], {"cmap": "magma", "vmin": 0, "vmax": ERROR_SPAN}
        error = np.abs(back - examples["sources"])
        columns += [(f"{name}, decomposed", back[..., i], GREY) for i, name in enumerate(modalities)]
        columns += [(f"{name}, |error|", error[..., i], magma) for i, name in enumerate(modalities)]
    return columns


def _cropped(examples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cut to what holds brain in any of the slices, and a little more."""
    shown = np.asarray(brain.inside(examples["sources"]).any((0, -1)))
    rows, columns = brain.bounding_box(shown, (MARGIN, MARGIN))
    return {name: images[:, rows, columns] for name, images in examples.items()}


def image_panel(examples: dict[str, np.ndarray], modalities: Sequence[str], names: Sequence[str] = ()) -> Figure:
    """A row a slice: sources, fused, latent, decomposed, and the absolute error of each decomposed source.

    Args:
      examples: `sources` and `decomposed` (N, H, W, M), `fused` (N, H, W, 1), `latent` (N, H, W, C); the last two may
        be missing where a system has none.
      modalities: M names.
      names: N, of the slices, at the left.
    """
    columns, rows = _columns(_cropped(examples), modalities), len(examples["fused"])
    height, width = columns[0][1].shape[1:]
    size = (1.7 * len(columns) + 0.3, 1.65 * height / width * rows + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (title, images, style) in zip(axes.T, columns, strict=True):
        column[0].set_title(title, fontsize=8)
        for axis, image in zip(column, images, strict=True):
            drawn = axis.imshow(image, **style)
            axis.set(xticks=[], yticks=[])
            for spine in axis.spines.values():
                spine.set_visible(False)
        scale = figure.colorbar(drawn, ax=column.tolist(), orientation="horizontal", pad=0.02, aspect=18)
        scale.ax.tick_params(labelsize=6)
    for axis, name in zip(axes[:, 0], names, strict=False):
        axis.set_ylabel(name, fontsize=7)
    return figure


def patients(scores: dict[str, dict[str, float]], titles: dict[str, str], overall: dict[str, float]) -> Figure | None:
    """A line a patient, the best on top: a point for each score, and where the means lie.

    Args:
      scores: patient -> score -> value.
      titles: score -> what readers call it; the patients are sorted by the first.
      overall: score -> mean.

    Returns:
      None where nothing was scored.
    """
    shown = {name: title for name, title in titles.items() if name in overall}
    if not shown or not scores:
        return None
    first = next(iter(shown))
    names = sorted(scores, key=lambda patient: scores[patient][first])
    figure = Figure(figsize=(7.5, 1.4 + 0.24 * len(names)))
    axis = figure.subplots()
    colours = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    for k, (name, title) in enumerate(shown.items()):
        axis.plot([scores[patient][name] for patient in names], range(len(names)), "o", color=colours[k], label=title)
        axis.axvline(overall[name], color=colours[k], linewidth=0.8, linestyle=":")
    axis.set(yticks=range(len(names)), xlabel="inside the brain; dotted: mean over all slices")
    axis.set_yticklabels(names, fontsize=8)
    axis.grid(axis="x", color="#ddd", linewidth=0.6)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncol=2, frameon=False, fontsize=8)
    return figure
