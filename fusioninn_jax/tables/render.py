"""Tables of strings as Markdown, LaTeX and HTML; numbers as CSV."""

from __future__ import annotations

import csv
import pathlib
from typing import Any, NamedTuple, TextIO

import jinja2

from fusioninn_jax.runtime import outputs
from fusioninn_jax.scoring.score_table import markdown_table, write_atomically
from fusioninn_jax.scoring.statistics import interval_text

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "_": r"\_",
    "#": r"\#",
    "$": r"\$",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "α": r"$\alpha$",
    "λ": r"$\lambda$",
    "†": r"$^\dagger$",
    "*": r"$^*$",
    "×": r"$\times$",
    "—": "--",
    "≤": r"$\le$",
}


class Table(NamedTuple):
    """A table of strings.

    Attributes:
      title: above it.
      header: of the columns; the first names the rows.
      rows: cells, as many as the header has.
      note: below it; may be empty.
    """

    title: str
    header: list[str]
    rows: list[list[str]]
    note: str = ""


def interval(value: dict[str, float] | None, digits: int = 4) -> str:
    """`mean [low, high]` of `value` with so many `digits` behind the point; a dash for None."""
    return "—" if value is None else interval_text(value, digits)


def markdown(title: str, tables: list[Table]) -> str:
    """All `tables` under one `title`."""
    parts = [f"# {title}\n"]
    for table in tables:
        cells = [[cell.replace("|", "\\|") for cell in row] for row in (table.header, *table.rows)]
        parts.append(
            f"## {table.title}\n\n{markdown_table(cells[0], cells[1:])}\n" + (f"\n{table.note}\n" if table.note else "")
        )
    return "\n".join(parts)


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def latex(tables: list[Table]) -> str:
    """A `table` environment for each of `tables`; needs the package booktabs."""
    parts = []
    for table in tables:
        lines = [" & ".join(map(_escaped, row)) + r" \\" for row in (table.header, *table.rows)]
        caption = _escaped(f"{table.title}. {table.note}" if table.note else f"{table.title}.")
        parts.append(
            "\n".join(
                [
                    r"\begin{table}",
                    rf"\caption{{{caption}}}",
                    r"\centering",
                    rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
                    r"\toprule",
                    lines[0],
                    r"\midrule",
                    *lines[1:],
                    r"\bottomrule",
                    r"\end{tabular}",
                    r"\end{table}",
                    "",
                ]
            )
        )
    return "\n".join(parts)


def html(title: str, tables: list[Table]) -> str:
    """A self-contained page of all `tables` under one `title`."""
    environment = jinja2.Environment(loader=jinja2.PackageLoader("fusioninn_jax"), autoescape=True)
    return environment.get_template("tables.html").render(title=title, tables=tables)


def write(folder: pathlib.Path, stem: str, title: str, tables: list[Table], numbers: list[dict[str, Any]]) -> str:
    """Writes `stem`.md, .tex, .html and .csv into `folder`; returns the Markdown.

    Args:
      folder: made where it is missing.
      stem: of the files' names.
      title: of the page.
      tables: strings, for readers.
      numbers: records of equal keys, for programs.
    """
    text = markdown(title, tables)
    for ending, content in ((".md", text), (".tex", latex(tables)), (".html", html(title, tables))):
        outputs.write_text(folder / f"{stem}{ending}", content)

    def write_numbers(file: TextIO) -> None:
        writer = csv.DictWriter(file, list(numbers[0]))
        writer.writeheader()
        writer.writerows(numbers)

    write_atomically(folder / f"{stem}.csv", write_numbers)
    return text
