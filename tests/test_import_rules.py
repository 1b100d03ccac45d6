# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Who may import whom: the architecture as a test."""

import ast
import graphlib
import importlib
import pathlib

import pytest

from distill_jax import methods

PACKAGE = pathlib.Path(__file__).parents[1] / "distill_jax"
FILES = sorted(PACKAGE.rglob("*.py"))
# A room imports from its own floor and from those below it, without a circle.
FLOORS = [
    {"types", "errors", "deprecations", "base"},
    {"theory", "compute", "storage", "nets", "data"},
    {"augmentation", "tasks"},
    {"inner", "training"},
    {"experts", "samplers", "scores", "selection", "labels"},
    {"transforms", "objectives"},
    {"bilevel", "evaluation", "runtime"},
    {"methods"},
    {"report", "studies", "testing", "gallery"},
    {"cli"},
    {"__init__", "__main__"},
]
# Narrower than the floors: what a room must not import although it lies lower.
FORBIDDEN = {
    "objectives": {"data", "selection", "samplers"},
    "report": {"data", "nets", "evaluation", "runtime", "methods"},
    "storage": {"base", "types"},  # Read with numpy alone.
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


def room_of(path: pathlib.Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floor_of(room: str) -> int:
    (number,) = [n for n, rooms in enumerate(FLOORS) if room in rooms]
    return number


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_downwards(path):
    room = room_of(path)
    found = imports(path, path.read_text()) - {room}
    above = {other for other in found if floor_of(other) > floor_of(room)}
    assert not above, f"{room} is on a lower floor than these"
    assert not found & FORBIDDEN.get(room, set()), f"{room} must not import these"


def test_rooms_of_one_floor_import_each_other_without_a_circle():
    arrows = {}
    for path in FILES:
        room = room_of(path)
        arrows.setdefault(room, set()).update(imports(path, path.read_text()) - {room})
    list(graphlib.TopologicalSorter(arrows).static_order())  # Raises for a circle.


def test_no_code_but_the_command_line_reads_a_config():
    for path in FILES:
        if room_of(path) != "cli":
            assert "ml_collections" not in path.read_text(), path


def test_only_named_methods_have_more_than_ten_arguments():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            args = node.args
            count = len(args.posonlyargs) + len(args.args) + len(args.kwonlyargs)
            is_named_method = room_of(path) == "methods" and node.name in methods.NAMES
            assert count <= 10 or is_named_method, f"{path}: {node.name} has {count}"


def test_imports_are_found_in_every_form():
    lines = {
        "import distill_jax.data.idx": "data",
        "from distill_jax import cli": "cli",
        "from distill_jax.report import html": "report",
        "from . import net": "nets",
        "from .net import Net": "nets",
        "from .. import data": "data",
        "from ..report.html import render_report": "report",
        "def f():\n    from .. import cli": "cli",
    }
    for line, part in lines.items():
        assert imports(PACKAGE / "nets" / "layers.py", line) == {part}, line
    assert imports(PACKAGE / "bilevel.py", "from . import data") == {"data"}


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
