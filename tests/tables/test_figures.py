"""The drawing functions on arrays: what is in the panels, and the box about the tumour."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.patches import Rectangle

from fusioninn_jax.ssim import ssim
from fusioninn_jax.tables import figures
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


def panels(figure):
    return [axis for axis in figure.axes if axis.get_title()]


@pytest.mark.parametrize(
    "rows,columns",
    [
        (slice(2, 6), slice(0, 3)),
        (slice(40, 48), slice(50, 64)),
        (slice(0, 48), slice(0, 64)),
        (slice(20, 21), slice(30, 31)),
    ],
)
def test_the_box_holds_the_tumour_and_stays_inside(rows, columns):
    tumour = mask(rows, columns)
    row, column, side = figures.tumour_box(tumour)
    assert row >= 0 and column >= 0 and row + side <= 48 and column + side <= 64
    if side < 48:
        assert tumour[row : row + side, column : column + side].sum() == tumour.sum()
    assert figures.tumour_box(None) is None and figures.tumour_box(0 * tumour) is None


def test_figure3_shows_every_system_with_its_scores_and_the_tumour():
    figure = figures.figure3(
        (X1, X2), {"mean": MEAN, "first": X1}, ("T1-Gd", "T2-FLAIR"), mask(slice(10, 20), slice(10, 20)), columns=3
    )
    found = {axis.get_title(): axis for axis in panels(figure)}
    assert list(found) == ["T1-Gd", "T2-FLAIR", "mean", "first"]
    expected = [float(ssim(source[None, ..., None], MEAN[None, ..., None])[0]) for source in (X1, X2)]
    assert found["mean"].texts[0].get_text() == f"{expected[0]:.3f} / {expected[1]:.3f}"
    np.testing.assert_array_equal(found["mean"].images[0].get_array(), MEAN)
    boxes = [patch for patch in found["mean"].patches if isinstance(patch, Rectangle)]
    assert boxes[0].get_edgecolor() == to_rgba("lime") and len(found["mean"].collections) == 1  # box and outline
    row, column, side = figures.tumour_box(mask(slice(10, 20), slice(10, 20)))
    zoom = found["mean"].child_axes[0].images[0].get_array()
    np.testing.assert_array_equal(zoom, MEAN[row : row + side, column : column + side])


def test_without_a_mask_nothing_is_outlined():
    figure = figures.figure3((X1, X2), {"mean": MEAN}, ("a", "b"))
    assert not any(axis.patches or axis.child_axes for axis in figure.axes)


def test_figures_4_and_5_pair_fused_and_decomposed(tmp_path):
    fusion = figures.Fusion((X1, X2), MEAN, (X1, MEAN))
    four = figures.figure4({"λ = 0.8": fusion, "λ = 0.9": fusion}, ("T1-Gd", "T2-FLAIR"))
    titles = [axis.get_title() for axis in panels(four)]
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
    found = panels(five)
    assert len(found) == 10 and found[3].texts[0].get_text() == "1.000"
    assert all(axis.child_axes for axis in found[:5]) and not any(axis.child_axes for axis in found[5:])
    paths = figures.save(five, tmp_path / "new", "figure5")
    assert [path.read_bytes()[:4] for path in paths] == [b"\x89PNG", b"%PDF"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["figure5.pdf", "figure5.png"]
