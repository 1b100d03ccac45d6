# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Executes the notebooks and checks that each text pairs with its .ipynb.

    python notebooks/execute.py [--runlocal] [--pair] [NAME ...]

Nothing in the checkout is changed: notebooks are executed in memory, in an empty
temporary folder. With ``--pair`` the .ipynb files are written anew from the .py files,
which are what is edited, and nothing is executed.
"""

import argparse
import os
import pathlib
import sys
import tempfile
import time

import jupytext
import nbclient
import nbformat

FOLDER = pathlib.Path(__file__).resolve().parent
LIMIT = 300_000  # Bytes of a committed notebook.


def texts(names: list[str]) -> list[pathlib.Path]:
    """The texts of the notebooks of these names, all of them for no names."""
    found = sorted(FOLDER.glob("[0-9]_*.py"))
    known = {path.stem: path for path in found}
    unknown = [name for name in names if name not in known]
    if unknown:
        sys.exit(f'There is no notebook "{unknown[0]}"; there are {", ".join(known)}.')
    return [known[name] for name in names] if names else found


def to_notebook(text: pathlib.Path) -> nbformat.NotebookNode:
    """The notebook that a text stands for, with cell ids that do not change."""
    notebook = jupytext.read(text)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def write_pair(text: pathlib.Path) -> None:
    """Writes the .ipynb of a text, without outputs."""
    notebook = to_notebook(text)
    nbformat.validate(notebook)
    content = nbformat.writes(notebook, version=4)
    text.with_suffix(".ipynb").write_text(content + "\n", encoding="utf-8")


def differences(text: pathlib.Path) -> list[str]:
    """What is wrong with the .ipynb of a text; an empty list where nothing is."""
    path = text.with_suffix(".ipynb")
    if not path.is_file():
        return [f"{path.name} is missing"]
    if path.stat().st_size > LIMIT:
        return [f"{path.name} has more than {LIMIT} bytes; clear its outputs"]
    expected = [(cell.cell_type, cell.source) for cell in to_notebook(text).cells]
    notebook = nbformat.read(path, as_version=4)
    found = [(cell.cell_type, cell.source) for cell in notebook.cells]
    if len(found) != len(expected):
        return [f"{path.name} has {len(found)} cells, {text.name} {len(expected)}"]
    return [
        f"cell {number} of {path.name} differs from {text.name}"
        for number, cells in enumerate(zip(found, expected, strict=True))
        if cells[0] != cells[1]
    ]


def execute(text: pathlib.Path) -> str:
    """Runs a notebook in an empty folder; returns what it printed."""
    notebook = nbformat.read(text.with_suffix(".ipynb"), as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        client = nbclient.NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    return "".join(
        out.text
        for out in outputs
        if out.output_type == "stream" and out.name == "stdout"
    )


def main() -> None:
    """Reads the command line, checks, executes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="such as 0_from_scratch; or all")
    parser.add_argument("--runlocal", action="store_true", help="shrink the numbers")
    parser.add_argument("--pair", action="store_true", help="write the .ipynb files")
    arguments = parser.parse_args()
    found = texts(arguments.names)
    if arguments.pair:
        for text in found:
            write_pair(text)
        return
    wrong = [sentence for text in found for sentence in differences(text)]
    if wrong:
        sys.exit("\n".join(wrong) + "\nRun `python notebooks/execute.py --pair`.")
    os.environ["RUNLOCAL"] = "1" if arguments.runlocal else "0"
    for text in found:
        start = time.perf_counter()
        try:
            printed = execute(text)
        except nbclient.exceptions.CellExecutionError as error:
            sys.exit(f"{text.stem} failed:\n{error}")
        print(f"{text.stem}: {time.perf_counter() - start:.0f} s")
        print("".join(f"  {line}\n" for line in printed.splitlines()), end="")


if __name__ == "__main__":
    main()
