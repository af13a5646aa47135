"""The site of the documentation: `make docs` builds it into docs/_build/html; a warning is an error."""

import importlib.metadata
import pathlib
import re

DOCS = pathlib.Path(__file__).parent
SECTIONS = ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")

project = "fusioninn_jax"
copyright = "the authors of fusioninn_jax"
release = importlib.metadata.version("fusioninn_jax")

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
exclude_patterns = ["_build", "README.md"]
templates_path: list[str] = []

html_theme = "pydata_sphinx_theme"
html_title = "fusioninn_jax"
html_theme_options = {"show_toc_level": 2, "navigation_with_keys": False, "use_edit_page_button": False}
html_sidebars = {"**": ["sidebar-nav-bs"]}
html_show_sourcelink = False

# Markdown and notebooks. Notebooks are kept without outputs and run here, each once until it changes.
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_timeout = 900
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_output_stderr = "remove"

# Docstrings are of Google's form; single backticks in them are code.
default_role = "code"
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True


def escaped(line: str) -> str:
    """The line with stars and bars outside of code as themselves: no docstring means emphasis by them."""
    parts = re.split(r"(`[^`]*`)", line)
    return "".join(part if i % 2 else re.sub(r"([*|])", r"\\\1", part) for i, part in enumerate(parts))


def indentation(line: str) -> int:
    """Of a line of text."""
    return len(line) - len(line.lstrip())


def with_formulas(lines: list[str]) -> list[str]:
    """Running text whose indented lines, formulas and examples, become blocks of code; items of lists stay."""
    result: list[str] = []
    in_code = in_item = False
    for line in lines:
        if line and result:
            deeper = indentation(line) > 0
            starts_item = line.startswith("- ")
            if deeper and not in_code and not in_item:
                result += ([""] if result[-1] else []) + ["::", ""]
                in_code = True
            elif not deeper and (in_code or (in_item and not starts_item) or (starts_item and not in_item)):
                result += [""] if result[-1] else []
                in_code = False
            in_item = starts_item or (in_item and deeper)
        result.append(line if in_code else escaped(line))
    return result


def read_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Docstrings are plain text with code in single backticks; this makes reStructuredText of them."""
    first = next((i for i, line in enumerate(lines) if line in SECTIONS), len(lines))
    lines[:] = with_formulas(lines[:first]) + [""] * bool(lines[first:]) + [escaped(line) for line in lines[first:]]


def read_page(app, docname: str, content: list[str]) -> None:
    """Links to files of the repository outside of docs/, which the site does not hold, become their names."""

    def named(match: re.Match[str]) -> str:
        target = (DOCS / docname).parent.joinpath(match[2]).resolve()
        return match[0] if target.is_relative_to(DOCS) else f"{match[1]} (`{target.relative_to(DOCS.parent)}`)"

    content[0] = re.sub(r"\[([^\]]+)\]\((\.\./[^)#\s]+)[^)]*\)", named, content[0])


def setup(app) -> None:
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", read_docstring, priority=100)
    app.connect("source-read", read_page)
