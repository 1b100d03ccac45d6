# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A set is stored before it is judged, each arm as it ends; what is damaged, again."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from distill_jax.cli import main
from distill_jax.evaluation import baselines
from distill_jax.storage import distilled

pytestmark = pytest.mark.slow

CONFIG = pathlib.Path(__file__).parents[2] / "configs" / "digits_frepo.py"
TINY = [
    f"--config={CONFIG}:runlocal",
    "--config.num_steps=4",
    "--config.network.hidden=(8,)",
    "--config.method.batch_size=32",
    "--config.evaluate.num_curve_points=1",
    "--config.protocol.num_steps=12",
    "--config.protocol.warmup_steps=2",
    "--config.evaluate.num_real_steps=12",
    "--config.evaluate.num_expert_epochs=2",
]


def call(*argv) -> int:
    with pytest.raises(SystemExit) as stop:
        main.main([str(word) for word in argv])
    assert isinstance(stop.value.code, int)
    return stop.value.code


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was interrupted while it was judged."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"

    def stop(*args):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "_random_any", stop)
        assert call("distill", *TINY, f"--workdir={workdir}") == 130
    return workdir


@pytest.fixture(scope="module")
def whole(stopped, tmp_path_factory):
    """The same run, completed by the same command."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    shutil.copytree(stopped, workdir)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_synthetic_any", "_real_hard", "_synthetic_hard"):
            patch.setattr(baselines, name, None)  # Of these nothing is missing.
        assert call("distill", *TINY, f"--workdir={workdir}") == 0
    return workdir


@pytest.fixture
def judged(stopped, tmp_path):
    return shutil.copytree(stopped, tmp_path / "run")


def scores_of(workdir):
    rows = json.loads((workdir / "results.json").read_text())["arms"]
    return [(row["name"], row["accuracy_mean"], row["num_diverged"]) for row in rows]


def arrays_of(workdir):
    return (workdir / "distilled.npz").read_bytes()


def test_a_set_is_stored_before_it_is_judged(judged, whole, capsys):
    stored = distilled.DistilledSet.load(judged)
    assert arrays_of(judged) == arrays_of(whole)
    assert stored.results["state"] == "not judged yet"
    assert not (judged / "results.json").exists()
    assert call("report", f"--workdir={judged}") == 0
    assert "not judged yet" in (judged / "report.html").read_text()
    said = capsys.readouterr().out
    assert "synthetic-any" in said
    assert "random-any" not in said


def test_the_same_command_trains_only_the_arms_that_are_missing(stopped, whole):
    names = [name for name, _, _ in scores_of(whole)]
    assert names == [
        "real-hard",
        "synthetic-hard",
        "synthetic-any",
        "random-any",
        "random-soft",
    ]
    results = json.loads((whole / "results.json").read_text())
    assert set(results["scores"]) == {"Label-robust score"}
    assert arrays_of(whole) == arrays_of(stopped)
    assert "state" not in distilled.DistilledSet.load(whole).results
    assert not (whole / "judging.json").exists()
    assert "not judged yet" not in (whole / "report.html").read_text()


def test_evaluate_completes_a_set_and_leaves_its_arrays(judged, capsys):
    (judged / "judging.json").write_text("{")  # Damaged, and left out.
    before = arrays_of(judged)
    words = ["evaluate", f"--distilled={judged}", "--num_runs=2"]
    with pytest.warns(UserWarning, match="arms are left out"):
        assert call(*words) == 0
    said = capsys.readouterr().out
    assert arrays_of(judged) == before
    ((name, mean, _),) = scores_of(judged)
    assert name == "synthetic-any"
    assert said.startswith(f"{100 * mean:.2f} %")
    results = distilled.DistilledSet.load(judged).results
    assert "state" not in results
    assert call("report", f"--workdir={judged}") == 0
    assert "not judged yet" not in (judged / "report.html").read_text()
    assert call(*words, "--seed=1") == 0  # Changes nothing any more.
    assert distilled.DistilledSet.load(judged).results == results


def test_fields_that_change_no_step_do_not_make_another_run(whole, tmp_path):
    workdir = shutil.copytree(whole, tmp_path / "run")
    words = [*TINY, f"--workdir={workdir}"]
    free = [
        "--config.title=Mine",
        "--config.log_every=3",
        "--config.checkpoint_every=2",
    ]
    assert call("distill", *words, *free, "--config.evaluate.arms=False") == 0
    assert scores_of(workdir) == scores_of(whole)  # All that is wanted is there.
    assert "<h1>Mine" in (workdir / "report.html").read_text()
    assert call("distill", *words, "--config.evaluate.num_runs=3") == 0
    results = json.loads((workdir / "results.json").read_text())
    assert {len(runs) for runs in results["runs"].values()} == {3}
    assert arrays_of(workdir) == arrays_of(whole)
    assert call("distill", *words, "--config.protocol.num_steps=13") == 2
    assert call("distill", *words, "--config.seed=5") == 2


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def lie(path):
    path.write_text(path.read_text().replace('"num_runs": 2', '"num_runs": 9'))


DAMAGES = {
    "cut arrays": ("distilled.npz", cut),
    "no arrays": ("distilled.npz", lambda path: path.unlink()),
    "other facts": ("distilled.json", lie),
    "no facts": ("distilled.json", lambda path: path.unlink()),
    "other results": ("results.json", lie),
    "no results": ("results.json", lambda path: path.unlink()),
}


@pytest.mark.filterwarnings("ignore:What is damaged")
def test_what_is_damaged_of_a_finished_run_is_written_again(
    whole, tmp_path, monkeypatch
):
    for name in ("_synthetic_any", "_real_hard"):  # Nothing is judged again.
        monkeypatch.setattr(baselines, name, None)
    kept = ("distilled.npz", "distilled.json", "results.json")
    right = {name: (whole / name).read_bytes() for name in kept}
    for case, (name, damage) in DAMAGES.items():
        workdir = shutil.copytree(whole, tmp_path / case)
        damage(workdir / name)
        assert (workdir / name).exists() == (not case.startswith("no "))
        assert call("distill", *TINY, f"--workdir={workdir}") == 0, case
        for each in kept:
            assert (workdir / each).read_bytes() == right[each], (case, each)


@pytest.mark.filterwarnings("ignore:What is damaged")
def test_a_run_that_lost_set_and_results_is_judged_again(whole, tmp_path):
    workdir = shutil.copytree(whole, tmp_path / "run")
    cut(workdir / "distilled.json")
    (workdir / "results.json").write_text("")
    assert call("distill", *TINY, f"--workdir={workdir}") == 0
    assert arrays_of(workdir) == arrays_of(whole)
    assert scores_of(workdir) == scores_of(whole)


def test_a_set_of_a_later_version_is_left_as_it_is(whole, tmp_path, capsys):
    workdir = shutil.copytree(whole, tmp_path / "run")
    path = workdir / "distilled.json"
    path.write_text(
        path.read_text().replace('"format_version": 1', '"format_version": 9')
    )
    before = path.read_bytes()
    assert call("distill", *TINY, f"--workdir={workdir}") == 2
    assert "install a newer distill_jax" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_runs_are_those_of_the_arms(whole):
    results = json.loads((whole / "results.json").read_text())
    for row in results["arms"]:
        assert np.mean(results["runs"][row["name"]]) == row["accuracy_mean"]
