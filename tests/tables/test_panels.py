"""fusioninn_jax.tables.panels: the box about the tumour, rows that are not full, both files of a figure."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from fusioninn_jax.tables import panels

IMAGE = np.linspace(0, 1, 24 * 32).reshape(24, 32)


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
    tumour = np.zeros((48, 64), np.uint8)
    tumour[rows, columns] = 2
    row, column, side = panels.tumour_box(tumour)
    assert row >= 0 and column >= 0 and row + side <= 48 and column + side <= 64
    if side < 48:
        assert tumour[row : row + side, column : column + side].sum() == tumour.sum()
    assert panels.tumour_box(None) is None and panels.tumour_box(0 * tumour) is None


def test_an_empty_panel_keeps_its_place_and_shows_nothing():
    figure = panels.grid([[panels.Panel("one", IMAGE), panels.Panel("", None)]], [None])
    first, second = figure.axes
    assert first.get_title() == "one" and len(first.images) == 1
    assert not second.images and not second.axison
    plt.close(figure)


def test_a_figure_is_saved_twice_and_closed(tmp_path):
    figure = panels.grid([[panels.Panel("one", IMAGE)]], [None])
    paths = panels.save(figure, tmp_path / "new", "figure5")
    assert [path.read_bytes()[:4] for path in paths] == [b"\x89PNG", b"%PDF"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["figure5.pdf", "figure5.png"]
    assert not plt.fignum_exists(figure.number)
