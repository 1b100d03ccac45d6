# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Cells: finished ones are kept, failed ones are told, a kill loses one at most."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import cells_child
import jax
import numpy as np
import pytest

import distill_jax
from distill_jax import errors, studies
from distill_jax.runtime import signals
from distill_jax.studies import cells as cells_lib
from distill_jax.studies import records

TOO_LONG = 60.0


class Toy:
    """Cells that count how often they run."""

    def __init__(self, num=3):
        self.ran = []
        self.cells = [self.cell(n) for n in range(num)]

    def cell(self, n, seed=0, rows=None):
        def run(key):
            self.ran.append(n)
            value = float(jax.random.uniform(key))
            return [{"value": n + value}] if rows is None else rows(key)

        return studies.Cell(f"cell {n}", run, {"n": n}, seed)


def fail(key):
    del key
    raise ValueError("It was too\nmuch.")


def run(toy, folder):
    return studies.run_cells(toy.cells, folder, progress=False)


def test_finished_cells_are_not_run_again(tmp_path):
    toy = Toy()
    first = run(toy, tmp_path)
    assert toy.ran == [0, 1, 2]
    assert [row["n"] for row in first.rows] == [0, 1, 2]
    assert run(toy, tmp_path) == first
    assert studies.read_results(toy.cells, tmp_path) == first
    assert toy.ran == [0, 1, 2]


def test_a_study_that_grows_runs_what_is_new(tmp_path):
    run(Toy(), tmp_path)
    toy = Toy(5)
    toy.cells = toy.cells[::-1]
    assert [row["n"] for row in run(toy, tmp_path).rows] == [4, 3, 2, 1, 0]
    assert toy.ran == [4, 3]


def test_a_cell_is_known_by_its_description_and_seed_and_not_by_its_name(tmp_path):
    toy = Toy(1)
    run(toy, tmp_path)
    toy.cells = [toy.cells[0]._replace(name="renamed")]
    assert run(toy, tmp_path).finished.keys() == {"renamed"}
    assert toy.ran == [0]
    toy.cells = [toy.cells[0]._replace(seed=1)]
    run(toy, tmp_path)
    assert toy.ran == [0, 0]


def test_equal_seeds_are_equal_keys(tmp_path):
    toy = Toy(2)
    first, second = run(toy, tmp_path).rows
    assert first["value"] == pytest.approx(second["value"] - 1)


def test_a_cell_that_fails_is_recorded_and_the_others_go_on(tmp_path, capsys):
    toy = Toy()
    toy.cells[1] = toy.cell(1, rows=fail)
    results = studies.run_cells(toy.cells, tmp_path)
    assert list(results.finished) == ["cell 0", "cell 2"]
    record = results.failed["cell 1"]
    assert record.error == "ValueError: It was too much."
    assert "in fail" in record.traceback
    assert "cell 1 failed with ValueError: It was too much." in capsys.readouterr().err


def test_a_cell_that_failed_is_tried_again(tmp_path):
    toy = Toy()
    toy.cells[1] = toy.cell(1, rows=fail)
    run(toy, tmp_path)
    toy.cells[1] = toy.cell(1)
    results = run(toy, tmp_path)
    assert toy.ran == [0, 1, 2, 1]
    assert not results.failed
    assert len(results.rows) == 3


def test_a_torn_last_line_is_dropped_and_its_cell_runs_again(tmp_path):
    toy = Toy()
    whole = run(toy, tmp_path)
    path = tmp_path / records.FILE_NAME
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    assert list(studies.read_results(toy.cells, tmp_path).finished) == [
        "cell 0",
        "cell 1",
    ]
    assert run(toy, tmp_path).rows == whole.rows
    assert toy.ran == [0, 1, 2, 2]
    assert [json.loads(line)["name"] for line in path.read_text().splitlines()] == [
        "cell 0",
        "cell 1",
        "cell 2",
    ]


def test_a_changed_line_is_told(tmp_path):
    toy = Toy()
    run(toy, tmp_path)
    path = tmp_path / records.FILE_NAME
    path.write_text(path.read_text().replace('"n": 1', '"n": 2', 1))
    with pytest.raises(errors.DamagedError, match=r"`Line 2 of .* is not what was wr"):
        run(toy, tmp_path)


def test_lines_of_an_earlier_version_are_read_and_the_log_says_so(tmp_path, caplog):
    toy = Toy()
    whole = run(toy, tmp_path)
    path = tmp_path / records.FILE_NAME
    lines = []
    for line in path.read_text().splitlines():
        fields = json.loads(line).items()
        former = {k: v for k, v in fields if not k.startswith("facts_")}
        lines.append(json.dumps(former))
    path.write_text("\n".join([*lines, ""]))
    assert run(toy, tmp_path) == whole
    assert "3 of 3 lines of" in caplog.text
    path.write_text(path.read_text().replace('"rows"', '"row"', 1))
    with pytest.raises(errors.InputError, match=r"Line 1 of .* is no record"):
        run(toy, tmp_path)


def test_rows_are_the_same_before_and_after_they_were_stored(tmp_path):
    rows = [{"a": np.float32(0.1), "b": float("nan"), "c": np.int64(3), "d": True}]
    toy = Toy(1)
    toy.cells = [toy.cell(0, rows=lambda key: rows)]
    (fresh,) = run(toy, tmp_path).rows
    (stored,) = run(toy, tmp_path).rows
    assert fresh == stored
    assert fresh["b"] is None
    assert fresh["a"] == float(np.float32(0.1))


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"x": np.zeros(2)}, "`x` of a row is of type ndarray"),
        ({"n": 1}, "`n`, which the description of its cell has too"),
        ({"seed": 1}, "`seed`, which the description"),
    ],
)
def test_a_row_that_cannot_be_kept_is_told(row, sentence, tmp_path):
    toy = Toy(1)
    toy.cells = [toy.cell(0, rows=lambda key: [row])]
    assert sentence in run(toy, tmp_path).failed["cell 0"].error


def test_cells_that_cannot_be_told_apart_are_refused(tmp_path):
    toy = Toy(2)
    with pytest.raises(errors.InputError, match='Two cells are called "cell 0"'):
        studies.run_cells([toy.cells[0], toy.cells[0]], tmp_path)
    twin = toy.cells[0]._replace(name="twin")
    with pytest.raises(errors.InputError, match='"cell 0" and "twin" have the same'):
        studies.run_cells([toy.cells[0], twin], tmp_path)
    odd = toy.cells[0]._replace(description={"x": np.zeros(2)})
    with pytest.raises(errors.InputError, match="cannot be written as JSON"):
        studies.run_cells([odd], tmp_path)


def test_two_processes_do_not_work_in_one_folder(tmp_path):
    at_work = pytest.raises(errors.InputError, match="Another process is at work")
    with records.opened(tmp_path), at_work:
        run(Toy(), tmp_path)
    run(Toy(), tmp_path)


def test_an_interrupt_keeps_what_is_finished(tmp_path):
    def interrupt(key):
        raise KeyboardInterrupt

    toy = Toy()
    toy.cells[1] = toy.cell(1, rows=interrupt)
    with pytest.raises(signals.Interrupted, match='in the cell "cell 1"; 1 cells are'):
        run(toy, tmp_path)
    toy.cells[1] = toy.cell(1)
    run(toy, tmp_path)
    assert toy.ran == [0, 1, 1, 2]


def test_cells_of_other_code_are_counted(tmp_path, monkeypatch):
    toy = Toy(2)
    assert run(toy, tmp_path).num_of_other_code == 0
    monkeypatch.setattr(cells_lib, "_code", lambda: "other")
    toy.cells.append(toy.cell(2))
    assert run(toy, tmp_path).num_of_other_code == 2


def test_progress_says_how_far_it_is_and_how_long_it_takes(tmp_path, capsys):
    studies.run_cells(Toy().cells, tmp_path)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("1 of 3 cells; cell 0 took ")
    assert "; about " in lines[0]
    assert " left" in lines[0]
    assert "left" not in lines[2]
    studies.run_cells(Toy().cells, tmp_path / "quiet", progress=False)
    assert not capsys.readouterr().err


@pytest.mark.slow
def test_a_study_that_was_killed_ends_as_if_it_never_was(tmp_path):
    whole = studies.run_cells(cells_child.CELLS, tmp_path / "whole", progress=False)
    folder = tmp_path / "killed"
    path = folder / records.FILE_NAME
    num_lines = lambda: path.read_bytes().count(b"\n") if path.exists() else 0
    for target in (1, 3):
        process = start(folder)
        deadline = time.monotonic() + TOO_LONG
        while num_lines() < target and time.monotonic() < deadline:
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert target <= num_lines() < len(cells_child.CELLS)
    assert start(folder).wait(timeout=TOO_LONG) == 0
    results = studies.read_results(cells_child.CELLS, folder)
    assert results.rows == whole.rows
    assert num_lines() == len(cells_child.CELLS)


def start(folder):
    root = pathlib.Path(distill_jax.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, cells_child.__file__, str(folder)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.DEVNULL,
    )
