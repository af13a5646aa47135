"""fusioninn_jax.tables.figures on arrays: what is in the panels of each figure."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from fusioninn_jax.ssim import ssim
from fusioninn_jax.tables import figures
from fusioninn_jax.tables.panels import tumour_box
from tests.golden import portable_inputs

X1, X2 = portable_inputs.smooth(0, 1, 48, 64)[0]
MEAN = (X1 + X2) / 2


def mask(rows, columns):
    found = np.zeros(X1.shape, np.uint8)
    found[rows, columns] = 2
    return found


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def titled(figure):
    return [axis for axis in figure.axes if axis.get_title()]


def test_figure3_shows_every_system_with_its_scores_and_the_tumour():
    figure = figures.figure3(
        (X1, X2), {"mean": MEAN, "first": X1}, ("T1-Gd", "T2-FLAIR"), mask(slice(10, 20), slice(10, 20)), columns=3
    )
    found = {axis.get_title(): axis for axis in titled(figure)}
    assert list(found) == ["T1-Gd", "T2-FLAIR", "mean", "first"]
    expected = [float(ssim(source[None, ..., None], MEAN[None, ..., None])[0]) for source in (X1, X2)]
    assert found["mean"].texts[0].get_text() == f"{expected[0]:.3f} / {expected[1]:.3f}"
    np.testing.assert_array_equal(found["mean"].images[0].get_array(), MEAN)
    boxes = [patch for patch in found["mean"].patches if isinstance(patch, Rectangle)]
    assert boxes[0].get_edgecolor() == to_rgba("lime") and len(found["mean"].collections) == 1  # box and outline
    row, column, side = tumour_box(mask(slice(10, 20), slice(10, 20)))
    zoom = found["mean"].child_axes[0].images[0].get_array()
    np.testing.assert_array_equal(zoom, MEAN[row : row + side, column : column + side])


def test_without_a_mask_nothing_is_outlined():
    figure = figures.figure3((X1, X2), {"mean": MEAN}, ("a", "b"))
    assert not any(axis.patches or axis.child_axes for axis in figure.axes)


def test_figures_4_and_5_pair_fused_and_decomposed():
    fusion = figures.Fusion((X1, X2), MEAN, (X1, MEAN))
    four = figures.figure4({"λ = 0.8": fusion, "λ = 0.9": fusion}, ("T1-Gd", "T2-FLAIR"))
    titles = [axis.get_title() for axis in titled(four)]
    assert titles == [
        "λ = 0.8",
        "λ = 0.9",
        "T1-Gd",
        *["T1-Gd, decomposed"] * 2,
        "T2-FLAIR",
        *["T2-FLAIR, decomposed"] * 2,
    ]
    tumour = mask(slice(10, 20), slice(10, 20))
    five = figures.figure5([fusion, fusion], ("DWI-ADC", "T2-FLAIR"), [tumour, None])
    found = titled(five)
    assert len(found) == 10 and found[3].texts[0].get_text() == "1.000"
    assert all(axis.child_axes for axis in found[:5]) and not any(axis.child_axes for axis in found[5:])
