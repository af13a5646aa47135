"""Which way imports run: what CONTRIBUTING.md's table says is what the code does; docstrings name the parameters."""

import ast
import pathlib
import re
import subprocess
import sys

import pytest

import fusioninn_jax

PACKAGE = pathlib.Path(fusioninn_jax.__file__).parent
HERE_ALONE = {
    "tensorflow": "input_pipeline/libraries.py",
    "tensorflow_datasets": "input_pipeline/libraries.py",
    "orbax": "training/checkpoint.py",
}
WITHOUT = "import sys; sys.modules.update(dict.fromkeys(['tensorflow', 'tensorflow_datasets', 'orbax'])); "


def table():
    """Part -> the parts that it may import, in the order of the rows."""
    rows = [
        line.split("|")[1:3]
        for line in (PACKAGE.parent / "CONTRIBUTING.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    return {part.strip().strip("`"): set(imports.replace(" ", "").split(",")) - {""} for part, imports in rows}


def part_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path):
    """Whole names of what a file imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{name.name}" for name in node.names)


FILES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def test_every_part_has_a_row_and_the_parts_that_it_imports_stand_above():
    parts = table()
    assert set(parts) == {part_of(path) for path in FILES}
    above = set()
    for part, imports in parts.items():
        assert imports <= above, f"{part} imports {imports - above}, which stand below"
        above.add(part)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_imports_what_the_table_allows(path):
    allowed = table()[part_of(path)] | {part_of(path)}
    for name in imported(path):
        first, *rest = name.split(".")
        assert first not in ("data", "configs", "tests", "benchmarks"), name
        assert first not in HERE_ALONE or path == PACKAGE / HERE_ALONE[first], name
        assert first != "fusioninn_jax" or rest[0] in allowed, name


def public_functions(body, prefix=""):
    """(name, function) of every function and method without a leading underscore, outside of functions."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public_functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield prefix + node.name, node


def parameters(function):
    """The names of a function's parameters, `self` and `cls` left out."""
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    return [parameter.arg for parameter in named if parameter.arg not in ("self", "cls")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_docstring_names_every_parameter(path):
    unnamed = {}
    for name, function in public_functions(ast.parse(path.read_text()).body):
        words = set(re.findall(r"\w+", ast.get_docstring(function) or ""))
        if missing := [parameter for parameter in parameters(function) if parameter not in words]:
            unnamed[name] = missing
    assert not unnamed


def test_tensorflow_is_used_in_one_part():
    """`libraries` imports it for the modules of the input pipeline, and for nobody else."""
    users = {part_of(path) for path in FILES if "input_pipeline.libraries" in path.read_text()}
    assert users == {"input_pipeline"}


def test_pmap_is_called_in_one_file():
    assert {path.relative_to(PACKAGE).as_posix() for path in FILES if "jax.pmap(" in path.read_text()} == {
        "training/parallel.py"
    }


def test_the_package_comes_without_tensorflow_and_orbax():
    code = WITHOUT + "import fusioninn_jax; print(fusioninn_jax.models.names())"
    told = subprocess.run([sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    assert "fusioninn" in told.stdout
