# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `study`: what it leaves behind, goes on with, and says."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

import distill_jax
from distill_jax import report, studies
from distill_jax.cli import main, plan_study

CONFIG = "--config=digits_frepo_against_dm"
TINY = [
    f"{CONFIG}:runlocal",
    "--config.study.sizes=(1, 2)",
    "--config.study.num_steps=3",
    "--config.study.num_training_steps=5",
    "--config.study.hidden=(8,)",
]
TOO_LONG = 300.0


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main.main([str(word) for word in words])
    return stop.value.code


def toy(run=lambda key: [{"value": 3.0}]):
    """A study that takes no time."""
    needs = lambda: studies.Needs(1.0, 2.0, 10**6, 10**9)
    cells = [studies.Cell(f"cell {n}", run, {"n": n}, 0, needs) for n in range(3)]

    def sections_of(rows):
        claim = studies.claim_of("It is so.", [r["value"] for r in rows], above=0.0)
        return [report.Section("Claims", claims=[claim])]

    return studies.Study("Toy", cells, sections_of)


@pytest.fixture
def make_toy(monkeypatch):
    def make(**options):
        made = toy(**options)
        monkeypatch.setattr(studies, "build", lambda *args, **kwargs: made)

    return make


def test_a_study_leaves_its_cells_its_claims_and_a_page(make_toy, tmp_path, capsys):
    make_toy()
    assert call("study", CONFIG, f"--workdir={tmp_path}") == 0
    assert {path.name for path in tmp_path.iterdir()} == {
        "cells.jsonl",
        "claims.json",
        "config.json",
        "config.json.sha256",
        "report.html",
    }
    (claim,) = json.loads((tmp_path / "claims.json").read_text())
    assert (claim["verdict"], claim["value"]) == ("holds", 3.0)
    shown = capsys.readouterr()
    assert "holds: It is so. 3 (95 % interval 3 to 3)." in shown.out
    assert "3 of 3 cells" in shown.err


def test_failed_cells_end_in_a_sentence_and_an_exit_code(make_toy, tmp_path, capsys):
    def fail(key):
        raise ValueError("too much")

    make_toy(run=fail)
    assert call("study", CONFIG, f"--workdir={tmp_path}", "--quiet") == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert '3 of 3 cells failed, the first of them "cell 0" (ValueError: too' in line
    assert "the same command tries them again" in line
    assert "3 cells failed" in (tmp_path / "report.html").read_text()


def test_the_page_is_written_again_from_what_is_finished(make_toy, tmp_path, capsys):
    make_toy()
    assert call("study", CONFIG, f"--workdir={tmp_path}", "--quiet") == 0
    (tmp_path / "report.html").unlink()
    path = tmp_path / "cells.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    assert call("report", f"--workdir={tmp_path}") == 0
    assert "2 of 3 cells are finished." in capsys.readouterr().out
    assert "2 of 3" in (tmp_path / "report.html").read_text()
    assert call("report", f"--workdir={tmp_path}", "--picture=x.png") == 2
    assert "leave `--picture` out" in capsys.readouterr().err


def test_a_study_may_grow_but_another_one_is_refused(make_toy, tmp_path, capsys):
    make_toy()
    assert call("study", CONFIG, f"--workdir={tmp_path}", "--quiet") == 0
    more = [CONFIG, "--config.study.num_seeds=9", f"--workdir={tmp_path}"]
    assert call("study", *more, "--quiet") == 0
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["study"]["num_seeds"] == 9
    capsys.readouterr()
    other = [CONFIG, "--config.study.name=other", f"--workdir={tmp_path}"]
    assert call("study", *other) == 2
    assert 'holds the study "frepo_against_dm", not "other"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--config.study.name=frepo_agianst_dm", 'Did you mean "frepo_against_dm"'),
        ("--config.study.num_seed=3", 'Did you mean "num_seeds"'),
        ("--config.study.num_seeds=0", "`num_seeds` must be a whole number"),
        ("--config.study.data_name=digit", 'Did you mean "digits"'),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_done(word, said, tmp_path, capsys):
    assert call("study", CONFIG, word, f"--workdir={tmp_path / 'x'}") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
    assert not (tmp_path / "x").exists()


def test_a_plan_counts_cells_time_memory_and_disk(make_toy, tmp_path, capsys):
    make_toy()
    assert call("plan", CONFIG) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Toy:",
        "cells       3",
        "time        about 9 s for all",
        "memory      1 MB of 1 GB on each device, for the largest cell",
        "disk        about 3 kB",
    ]
    assert not list(tmp_path.iterdir())
    assert call("plan", CONFIG, "--memory_gib=0.0001") == 0
    assert "does not fit" in capsys.readouterr().out
    assert call("study", CONFIG, f"--workdir={tmp_path}", "--quiet") == 0
    capsys.readouterr()
    assert call("plan", CONFIG, f"--workdir={tmp_path}") == 0
    shown = capsys.readouterr().out
    assert "3, of which 3 are finished" in shown
    assert "time" not in shown


def test_a_plan_says_what_it_does_not_know():
    plan = studies.StudyPlan(4, 1, 3, 0.0, 0, None, 2000)
    assert plan_study.to_lines(plan) == [
        "cells       4, of which 1 are finished",
        "            and 3 cells of unknown time",
        "disk        about 2 kB",
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_example_killed_and_begun_again_is_as_one_never_killed(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert call("study", *TINY, f"--workdir={whole}", "--quiet") == 0
    cells = killed / "cells.jsonl"
    process = start(killed)
    deadline = time.monotonic() + TOO_LONG
    while not (cells.exists() and cells.read_bytes().count(b"\n") >= 2):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    num_kept = cells.read_bytes().count(b"\n")
    assert call("study", *TINY, f"--workdir={killed}", "--quiet") == 0
    assert rows_of(killed) == rows_of(whole)
    assert len(rows_of(whole)) == 8 > num_kept >= 2
    assert (killed / "claims.json").read_text() == (whole / "claims.json").read_text()
    page = (whole / "report.html").read_text()
    assert page.count('<li class="') == 2
    assert page.count("<figure>") == 1


def start(folder):
    root = pathlib.Path(distill_jax.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, "-m", "distill_jax", "study", *TINY, f"--workdir={folder}"],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def rows_of(folder):
    lines = (folder / "cells.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {row["name"]: row["rows"] for row in rows}
