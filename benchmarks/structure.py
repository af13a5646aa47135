"""How large the parts of the package are, and how they hang together: one number a line.

python benchmarks/structure.py [FOLDER_OF_A_CHECKOUT]
"""

from __future__ import annotations

import ast
import pathlib
import re
import sys

LONG, MANY = 30, 6


def parts(package: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Part -> its files; a folder at the top counts as one part."""
    found: dict[str, list[pathlib.Path]] = {}
    for path in sorted(package.rglob("*.py")):
        name = path.relative_to(package).parts[0].removesuffix(".py")
        found.setdefault(name, []).append(path)
    found.pop("__init__", None)
    return found


def imported(tree: ast.Module, package: str) -> set[str]:
    """The parts that a file imports, inside functions too."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith(f"{package}.")}


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, its docstring left out."""
    whole = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    has_docstring = ast.get_docstring(function, clean=False) is not None
    return whole - ((first.end_lineno or 0) - first.lineno + 1 if has_docstring else 0)


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many parameters it has."""
    of = function.args
    return len(of.posonlyargs) + len(of.args) + len(of.kwonlyargs)


def measure(root: pathlib.Path, package: str = "fusioninn_jax") -> dict[str, str]:
    """What the table in CONTRIBUTING.md shows."""
    found = parts(root / package)
    trees = {path: ast.parse(path.read_text()) for paths in found.values() for path in paths}
    arrows = {
        (part, other)
        for part, paths in found.items()
        for path in paths
        for other in imported(trees[path], package) & set(found)
        if other != part
    }
    functions = [
        (path, node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    longest = max(trees, key=lambda path: len(path.read_text().splitlines()))
    return {
        "parts at the top": str(len(found)),
        "arrows between them": str(len(arrows)),
        "files": str(len(trees)),
        "longest file, lines": f"{len(longest.read_text().splitlines())}, {longest.relative_to(root / package)}",
        f"functions over {LONG} lines of code": str(sum(code_lines(node) > LONG for _, node in functions)),
        f"functions of more than {MANY} parameters": str(sum(parameters(node) > MANY for _, node in functions)),
        "functions that take an `argparse.Namespace`": str(
            sum("Namespace" in ast.unparse(node.args) for _, node in functions)
        ),
        "`Any`, times named": str(
            sum(len(re.findall(r"\bAny\b", re.sub(r"#.*", "", path.read_text()))) for path in trees)
        ),
    }


def main() -> None:
    """Prints the table."""
    for name, value in measure(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")).items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
