# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the architecture as a test."""

import ast
import importlib
import pathlib

import pytest

PACKAGE = pathlib.Path(__file__).parents[1] / "distill_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
# folder or file -> what it must not import
TOP = {"runtime", "studies", "report", "main", "experiment", "judging"}
TOP |= {"outcome", "preview"}
FORBIDDEN = {
    "objectives": TOP | {"data", "selection", "samplers", "transforms", "evaluation"},
    "nets": TOP | {"data", "objectives", "transforms", "evaluation", "tasks"},
    "data": TOP | {"nets", "objectives", "transforms", "evaluation", "tasks"},
    "storage": TOP | {"base", "types", "data", "nets", "evaluation"},
}


def imports(path: pathlib.Path, text: str) -> set[str]:
    """The parts of the package that a file imports, e.g. {"data", "errors"}."""
    found = set()
    folder = (PACKAGE.name, *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            if node.level:  # One dot is the folder of the file, each more one above.
                parts = [*folder[: len(folder) + 1 - node.level], *parts]
            if parts[0] == "distill_jax":
                found |= {parts[1]} if parts[1:] else {n.name for n in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {n[1] for n in names if n[0] == "distill_jax" and n[1:]}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    where = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    rule = FORBIDDEN.get(where, TOP if where not in TOP | {"__init__"} else set())
    assert not imports(path, path.read_text()) & (rule - {where}), (
        f"{where} must not import these"
    )


def test_imports_are_found_in_every_form():
    lines = {
        "import distill_jax.data.idx": "data",
        "from distill_jax import main": "main",
        "from distill_jax.report import html": "report",
        "from . import net": "nets",
        "from .net import Net": "nets",
        "from .. import data": "data",
        "from ..report.html import render_report": "report",
        "def f():\n    from .. import main": "main",
    }
    for line, part in lines.items():
        assert imports(PACKAGE / "nets" / "conv.py", line) == {part}, line
    assert imports(PACKAGE / "seeds.py", "from . import data") == {"data"}


def test_no_function_shares_its_name_with_a_module_beside_it():
    for folder in {path.parent for path in FILES}:
        dotted = ".".join([PACKAGE.name, *folder.relative_to(PACKAGE).parts])
        package = importlib.import_module(dotted)
        modules = {path.stem for path in folder.iterdir()}
        public = {
            name
            for name in getattr(package, "__all__", ())
            if callable(getattr(package, name))
        }
        assert not public & modules, dotted


def test_every_file_carries_the_licence_and_a_docstring():
    for path in FILES:
        text = path.read_text()
        assert text.startswith("# Copyright The distill_jax Authors.\n# SPDX"), path
        assert ast.get_docstring(ast.parse(text)), path
