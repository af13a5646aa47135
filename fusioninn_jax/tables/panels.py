"""Rows of images, as the paper's figures have them, drawn and saved.

Images are (H, W) in [0, 1], masks (H, W) with the tumour's labels above 0, or None. Where there is a mask the tumour
is outlined in red, and a green box with its contents enlarged shows it.
"""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from fusioninn_jax.runtime import outputs

BOX_MARGIN = 1.3  # the box's side over the tumour's extent
SMALLEST_BOX = 24  # pixels
ZOOM_SHARE = 0.42  # of the panel's side that the enlarged box takes
PANEL_INCHES = 1.9


class Panel(NamedTuple):
    """One image of a figure: its title, pixels, and a line of text inside it."""

    title: str
    image: np.ndarray | None
    text: str = ""


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


def save(figure: Figure, folder: pathlib.Path, stem: str) -> list[pathlib.Path]:
    """Writes `figure` to `folder` as `stem`.png and .pdf, and closes it; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{stem}.{ending}" for ending in ("png", "pdf")]
    with outputs.new_files(*paths) as temporaries:
        for temporary in temporaries:
            figure.savefig(temporary, dpi=200, bbox_inches="tight")
    plt.close(figure)
    return paths
