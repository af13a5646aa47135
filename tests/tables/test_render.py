"""tables.render: the same strings in three formats, and the numbers beside them."""

import csv

import pytest

from fusioninn_jax.tables import render


def test_tables_escape_what_their_formats_read():
    table = render.Table("α & β", ["a_b", "x|y"], [["<i>", "50 %"]], "note")
    assert r"a\_b" in render.latex([table]) and r"50 \%" in render.latex([table]) and r"\alpha" in render.latex([table])
    assert "&lt;i&gt;" in render.html("t", [table])
    assert r"x\|y" in render.markdown("t", [table])


@pytest.mark.parametrize(
    "value, digits, text",
    [
        ({"mean": 0.5, "low": 0.25, "high": 0.75, "worst": 0}, 2, "0.50 [0.25, 0.75]"),
        ({"mean": 1, "low": 1, "high": 1}, 4, "1.0000 [1.0000, 1.0000]"),
        (None, 4, "—"),
    ],
)
def test_an_interval_or_a_dash(value, digits, text):
    assert render.interval(value, digits) == text


def test_a_note_stands_below_its_table_and_nothing_where_there_is_none():
    noted, bare = render.Table("A", ["a"], [["1"]], "a note"), render.Table("B", ["b"], [["2"]])
    assert render.markdown("t", [noted, bare]) == (
        "# t\n\n## A\n\n| a |\n| --- |\n| 1 |\n\na note\n\n## B\n\n| b |\n| --- |\n| 2 |\n"
    )
    assert r"\caption{A. a note}" in render.latex([noted]) and r"\caption{B.}" in render.latex([bare])


def test_four_files_of_one_stem(tmp_path):
    numbers = [{"score": "q_ssim", "mean": 0.5}, {"score": "α", "mean": None}]
    text = render.write(tmp_path / "new", "table", "t", [render.Table("A", ["a"], [["1"]])], numbers)
    names = ["table.csv", "table.html", "table.md", "table.tex"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names
    assert (tmp_path / "new/table.md").read_text() == text
    with (tmp_path / "new/table.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"score": "q_ssim", "mean": "0.5"}, {"score": "α", "mean": ""}]
