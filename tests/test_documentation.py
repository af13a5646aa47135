"""What the documentation shows runs: notebooks, doctests, links, and an API reference that leaves nothing out."""

import doctest
import importlib
import inspect
import json
import os
import pathlib
import re
import runpy
import subprocess
import sys

import pytest

DOCS = pathlib.Path(__file__).parents[1] / "docs"
PAGES = sorted(
    [
        *(page for page in DOCS.rglob("*.md") if "_build" not in page.parts),
        DOCS.parent / "README.md",
        DOCS.parent / "CONTRIBUTING.md",
    ]
)
DOCTESTS = [page for page in PAGES if DOCS in page.parents and ">>> " in page.read_text() and page.name != "others.md"]


NOTEBOOKS = sorted(path.stem for path in (DOCS / "notebooks").glob("*.ipynb"))
TRAINED_FOR_LONG = ("inverse_kinematics", "inverse_problem", "missing_modality")  # thrice as long if not optimised
OPTIMISED = os.environ.get("XLA_FLAGS", "").replace("optimization_level=0", "optimization_level=1")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_run(name):
    """Each by itself."""
    notebook = json.loads((DOCS / "notebooks" / f"{name}.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"]), "notebooks are kept without outputs"
    done = subprocess.run(
        [sys.executable, "-"],
        input="\n".join(cells),
        cwd=DOCS.parent,
        text=True,
        capture_output=True,
        env=os.environ | ({"XLA_FLAGS": OPTIMISED} if name in TRAINED_FOR_LONG else {}),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout


@pytest.mark.parametrize("page", DOCTESTS, ids=lambda page: page.name)
def test_examples_give_what_the_page_says(page):
    result = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted and not result.failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
        assert link.startswith("http") or (page.parent / link).exists(), link


def site():
    """What docs/conf.py holds."""
    return runpy.run_path(str(DOCS / "conf.py"))


def test_docstrings_become_text_formulas_and_lists():
    lines = [
        "The size |x| of `a * b`, and **c:",
        "  |y| = 2 * x",
        "and so on:",
        "- one",
        "  and its *rest",
        "- two",
        "The end.",
    ]
    assert site()["with_formulas"](lines) == [
        r"The size \|x\| of `a * b`, and \*\*c:",
        "",
        "::",
        "",
        "  |y| = 2 * x",
        "",
        "and so on:",
        "",
        "- one",
        r"  and its \*rest",
        "- two",
        "",
        "The end.",
    ]


def test_links_out_of_the_docs_become_names_and_others_stay():
    content = ["[data](../../data/README.md#top), [a page](../RESULTS.md), [there](https://example.org)"]
    site()["read_page"](None, "guide/page", content)
    assert content == ["data (`data/README.md`), [a page](../RESULTS.md), [there](https://example.org)"]


def test_every_page_is_in_the_contents_of_the_site():
    listed = {DOCS / "index"}
    for page in DOCS.rglob("*.md"):
        for block in re.findall(r"```{toctree}\n(.*?)```", page.read_text(), re.DOTALL):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            listed |= {(page.parent / entry).resolve() for entry in entries}
    pages = [*DOCS.rglob("*.md"), *(DOCS / "notebooks").glob("*.ipynb")]
    built = DOCS / "_build"
    assert {page.with_suffix("") for page in pages if built not in page.parents} == listed


def test_the_reference_names_every_public_function():
    reference = (DOCS / "api.md").read_text()
    for module in ("", ".bijections", ".metrics", ".models", ".pretrained"):
        loaded = importlib.import_module(f"fusioninn_jax{module}")
        own = getattr(loaded, "__all__", None) or [
            name
            for name, thing in vars(loaded).items()
            if callable(thing) and not name.startswith("_") and getattr(thing, "__module__", "") == loaded.__name__
        ]
        assert own
        for name in own:
            assert hasattr(loaded, name), f"{loaded.__name__}.{name}"
            assert f"`{name}" in reference or f".{name}`" in reference, f"{loaded.__name__}.{name}"


PUBLIC = (
    "",
    ".bijections",
    ".anatomy.brain",
    ".trained_model.calibration",
    ".latent_losses.characteristic",
    ".formats.files",
    ".formats.grid",
    ".formats.nifti",
    ".formats.nifti_headers",
    ".formats.series",
    ".objective.fusion_targets",
    ".interop.export",
    ".interop.torch_checkpoint",
    ".latent_losses",
    ".losses",
    ".metrics",
    ".models",
    ".models.classical",
    ".models.conditioners",
    ".models.salient",
    ".pretrained",
    ".score_names",
    ".scoring.score_split",
    ".scoring.score_table",
    ".scoring.statistics",
    ".settings",
    ".ssim",
    ".storage",
    ".studies.archive",
    ".studies.decomposing",
    ".studies.fusing",
    ".studies.fusing_files",
    ".train",
    ".trained_model",
    ".training.checkpoint",
    ".training.parallel",
    ".training.train_state",
    ".volumes",
)


def public_functions(module):
    """Name -> function, of a module's own and of what it offers as its own."""
    loaded = importlib.import_module(f"fusioninn_jax{module}")
    offered = getattr(loaded, "__all__", None)
    things = {name: getattr(loaded, name) for name in list(offered or vars(loaded))}
    return {
        name: thing
        for name, thing in things.items()
        if inspect.isfunction(thing)
        and not name.startswith("_")
        and name != "main"
        and (thing.__module__.startswith("fusioninn_jax") if offered else thing.__module__ == loaded.__name__)
    }


@pytest.mark.parametrize("module", PUBLIC)
def test_a_public_function_says_what_each_of_its_arguments_is(module):
    for name, function in public_functions(module).items():
        parameters = inspect.signature(function).parameters
        if parameters:
            _, found, said = (function.__doc__ or "").partition("Args:")
            assert found, f"{module}.{name} has no Args"
            lacking = [parameter for parameter in parameters if not re.search(rf"\b{parameter}\b", said)]
            assert not lacking, f"{module}.{name} does not say what {lacking} are"
