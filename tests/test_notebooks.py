# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Every notebook pairs with its text; `make notebooks` is what executes them."""

import importlib.util
import pathlib

import pytest

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("jupytext")
pytest.importorskip("nbclient")

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
TEXTS = sorted(FOLDER.glob("[0-9]_*.py"))


@pytest.fixture(scope="module")
def execute():
    spec = importlib.util.spec_from_file_location("execute", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def small(tmp_path):
    """A text of three cells, as jupytext writes them."""
    path = tmp_path / "2_small.py"
    path.write_text("# %% [markdown]\n# # Small\n\n# %%\nx = 1\n\n# %%\nprint(x + 1)\n")
    return path


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_a_notebook_agrees_with_its_text_and_has_no_outputs(execute, text):
    assert execute.differences(text) == []
    notebook = nbformat.read(text.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(notebook)
    assert not any(cell.get("outputs") for cell in notebook.cells)


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_a_notebook_has_a_text_before_its_first_code(text, execute):
    assert execute.to_notebook(text).cells[0].cell_type == "markdown"


def test_writing_a_pair_twice_writes_the_same(execute, small):
    execute.write_pair(small)
    first = small.with_suffix(".ipynb").read_bytes()
    execute.write_pair(small)
    assert small.with_suffix(".ipynb").read_bytes() == first
    assert execute.differences(small) == []


def test_a_notebook_that_is_missing_differs_or_is_too_large_is_told(execute, small):
    assert execute.differences(small) == ["2_small.ipynb is missing"]
    execute.write_pair(small)
    small.write_text(small.read_text().replace("x = 1", "x = 2"))
    assert execute.differences(small) == [
        "cell 1 of 2_small.ipynb differs from 2_small.py"
    ]
    small.write_text(small.read_text() + "\n# %%\nx\n")
    assert execute.differences(small) == ["2_small.ipynb has 3 cells, 2_small.py 4"]
    path = small.with_suffix(".ipynb")
    path.write_bytes(path.read_bytes() + b" " * execute.LIMIT)
    assert "more than 300000 bytes" in execute.differences(small)[0]


@pytest.mark.slow
def test_executing_tells_what_was_printed_and_leaves_no_trace(execute, small, tmp_path):
    small.write_text(small.read_text() + "\n# %%\nopen('left', 'w').close()\n")
    execute.write_pair(small)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert execute.execute(small) == "2\n"
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.slow
def test_a_cell_that_fails_is_an_error(execute, small):
    small.write_text(small.read_text() + "\n# %%\n1 / 0\n")
    execute.write_pair(small)
    with pytest.raises(execute.nbclient.exceptions.CellExecutionError, match="by zero"):
        execute.execute(small)


def test_an_unknown_name_is_refused(execute):
    with pytest.raises(SystemExit, match='no notebook "9_other"; there are 0_from'):
        execute.texts(["9_other"])
