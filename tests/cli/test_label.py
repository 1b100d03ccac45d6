# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command `label`: what it leaves behind, goes on with, takes, and refuses."""

import dataclasses
import hashlib
import json
import shutil

import jax
import numpy as np
import pytest

import distill_jax as dj
from distill_jax.cli import data_sets, kept_choice, label_report, label_work, main
from distill_jax.evaluation import grid, labelled_arms
from distill_jax.storage import merging

TINY = [
    "--config=digits100_labels:runlocal",
    "--quiet",
    "--config.data.name=digits",
    "--config.num_per_class=2",
    "--config.network.hidden=(16,)",
    "--config.experts.num_epochs=4",
    "--config.labels.epochs=(2, 4)",
    "--config.labels.temperatures=(1.0, 3.0)",
    "--config.protocol.num_steps=30",
    "--config.num_devices=1",
]


def call(*words):
    with pytest.raises(SystemExit) as stop:
        main.main([str(word) for word in words])
    return stop.value.code


def label(workdir, *words):
    return call("label", *TINY, f"--workdir={workdir}", *words)


@pytest.fixture
def without_page(monkeypatch):
    """Pages are looked at elsewhere, and take a second each."""
    monkeypatch.setattr(label_report, "write", lambda *args: None)


def complaint(capsys):
    (line,) = capsys.readouterr().err.splitlines()
    return line


def results_of(workdir):
    return json.loads((workdir / "results.json").read_text())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("labels") / "run"
    assert label(workdir) == 0
    return workdir


@pytest.fixture
def finished(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


@pytest.fixture(scope="module")
def dataset(whole):
    return data_sets.load_for(json.loads((whole / "config.json").read_text()))


@pytest.fixture
def set_of(whole):
    return dj.DistilledSet.load(whole)


def fail(*args, **options):
    raise AssertionError("this is not to be done again")


def test_a_run_leaves_a_set_that_says_where_its_labels_come_from(
    whole, set_of, dataset
):
    names = {
        path.name for path in whole.iterdir() if path.suffix not in ("", ".sha256")
    }
    assert names == {
        *("choice.json", "config.json", "distilled.json", "distilled.npz"),
        *("report.html", "results.json"),
    }
    facts, train = set_of.recipe["labels"], dataset.train

    assert len(facts["index"]) == len(set_of.y) == 20
    assert facts["epoch"] in (2, 4)
    assert facts["temperature"] in (1.0, 3.0)
    assert facts["num_teachers"] == facts["experts"]["num_experts"] == 2
    assert len(facts["expert_accuracy"]) == 2
    assert facts["entropy"] == pytest.approx(float(dj.labels.entropy(set_of.y).mean()))
    assert facts["chosen_on"] == "validation"
    raw = train.x[np.array(facts["index"])]
    assert facts["images_sha256"] == hashlib.sha256(raw.tobytes()).hexdigest()
    np.testing.assert_allclose(set_of.y.sum(axis=1), 1, atol=1e-5)


def test_labels_are_those_of_the_experts_at_the_chosen_epoch(whole, set_of, dataset):
    facts = set_of.recipe["labels"]
    plan = dj.experts.ExpertPlan(**facts["experts"])
    task = dj.tasks.classification(dj.nets.build(facts["network"]), dataset.spec)
    (folder,) = (whole / "experts").iterdir()
    buffer = dj.experts.make_buffer(plan, task, dataset, folder=folder)
    said = buffer.logits(task, set_of.x, epochs=[facts["epoch"]])[:, 0]
    expected = jax.nn.softmax(said.mean(axis=0) / facts["temperature"])
    np.testing.assert_allclose(set_of.y, expected, atol=1e-6)


def test_epoch_and_temperature_are_the_best_of_validation(whole):
    told = results_of(whole)["labelling"]
    means = np.mean(told["accuracies"], axis=-1)
    row, column = np.unravel_index(np.argmax(means), means.shape)
    assert told["epoch"] == told["epochs"][row]
    assert told["temperature"] == told["temperatures"][column]


def test_the_test_split_is_touched_once_for_each_arm(
    tmp_path, monkeypatch, without_page
):
    splits = []
    evaluate_grid, measure = grid.evaluate_grid, labelled_arms.Comparison.measure

    def noting_grid(*args, **options):
        splits.append(options["splits"])
        return evaluate_grid(*args, **options)

    def noting_measure(self, *args, **options):
        splits.append("test")
        return measure(self, *args, **options)

    monkeypatch.setattr(grid, "evaluate_grid", noting_grid)
    monkeypatch.setattr(labelled_arms.Comparison, "measure", noting_measure)
    assert label(tmp_path / "run", "--config.evaluate.arms=False") == 0
    assert splits == [("validation",), ("validation",), "test"]


def test_arms_say_what_the_labels_are_worth(whole):
    rows = {row["name"]: row for row in results_of(whole)["arms"]}
    assert list(rows) == ["real-hard", "hard-labels", "chosen-labels", "last-epoch"]
    assert [row["is_distilled"] for row in rows.values()] == [False, False, True, False]
    assert rows["hard-labels"]["bytes_stored"] == 20 * (64 + 1)
    assert rows["chosen-labels"]["bytes_stored"] == 20 * (64 + 40)


def test_the_same_command_says_that_it_is_done(finished, monkeypatch, capsys):
    monkeypatch.setattr(dj.experts, "make_buffer", fail)
    monkeypatch.setattr(grid, "evaluate_grid", fail)
    monkeypatch.setattr(labelled_arms, "_arm", fail)
    (finished / "report.html").unlink()
    assert label(finished) == 0
    assert "All of it was there already" in capsys.readouterr().out
    assert (finished / "report.html").exists()


def test_rows_of_another_run_are_refused(finished, capsys):
    """Even where the config of the folder is gone, which would have told."""
    for name in ("config.json", "config.json.sha256"):
        (finished / name).unlink()
    assert label(finished, "--config.protocol.learning_rate=0.3") == 2
    assert "is of another run: it had another config" in complaint(capsys)


def test_another_config_is_refused(finished, capsys):
    assert label(finished, "--config.seed=5") == 2
    assert "holds a run with another config: `seed` was 0, now 5" in complaint(capsys)
    assert label(finished, "--config.title=Mine") == 0
    assert "<h1>Mine" in (finished / "report.html").read_text()


LONG = pytest.mark.long(timeout=300)


@pytest.mark.parametrize(
    "num_rows", [pytest.param(0, marks=LONG), 1, pytest.param(2, marks=LONG)]
)
def test_a_stopped_run_goes_on_to_the_same_set(
    num_rows, whole, finished, monkeypatch, capsys
):
    """Stopped amid the choice, or after it."""
    for path in finished.iterdir():
        if path.name not in ("config.json", "config.json.sha256", "experts"):
            path.unlink()
    add, count = kept_choice.Kept.add, []

    def add_then_stop(self, *args):
        if len(count) == num_rows:
            raise KeyboardInterrupt
        count.append(1)
        add(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(kept_choice.Kept, "add", add_then_stop)
        patch.setattr(label_work, "_judge", lambda *args: fail())
        with pytest.raises((SystemExit, AssertionError)):
            main.main(["label", *TINY, f"--workdir={finished}"])
    capsys.readouterr()
    assert not (finished / "results.json").exists()
    assert call("report", f"--workdir={finished}") == (0 if num_rows == 2 else 2)
    assert label(finished) == 0
    for name in ("distilled.npz",):
        assert (finished / name).read_bytes() == (whole / name).read_bytes()
    assert results_of(finished)["runs"] == results_of(whole)["runs"]


def test_evaluate_report_and_merge_take_the_set(finished, set_of, capsys):
    assert call("evaluate", f"--distilled={finished}", "--num_runs=2") == 0
    assert "% test accuracy of 2 fresh networks" in capsys.readouterr().out
    (finished / "report.html").unlink()
    assert call("report", f"--workdir={finished}") == 0
    page = (finished / "report.html").read_text()
    for heading in (
        "The choice",
        "The experts",
        "Images and their labels",
        "classes mix",
    ):
        assert heading in page
    both = merging.merge(set_of, set_of)
    assert both.num_examples == 40
    assert both.y[:4].argmax(axis=1).tolist() == [*set_of.y[:2].argmax(axis=1)] * 2


def test_evaluate_completes_a_set_that_was_not_judged(finished, capsys):
    (finished / "results.json").unlink()
    stored = dj.DistilledSet.load(finished)
    told = {"labelling": stored.results["labelling"], "state": "not judged yet"}
    rest = {n: stored.results[n] for n in ("metrics", "environment", "set_sha256")}
    seconds = {"seconds": {"compile": 0.0}}
    dataclasses.replace(stored, results={**told, **rest, **seconds}).save(finished)
    assert call("evaluate", f"--distilled={finished}", "--num_runs=2") == 0
    ((row),) = results_of(finished)["arms"]
    assert row["name"] == "chosen-labels"
    assert call("report", f"--workdir={finished}") == 0


def expert_words(whole):
    (folder,) = (whole / "experts").iterdir()
    return f"--config.experts.folder={folder}"


@pytest.mark.long(timeout=300)
def test_images_of_a_set_keep_their_order(
    whole, set_of, dataset, tmp_path, without_page
):
    """Whichever way the same images come, the same experts say the same of them."""
    facts, train = set_of.recipe["labels"], dataset.train
    order = np.random.default_rng(0).permutation(20)
    raw = train.x[np.array(facts["index"])][order]
    y = train.y[np.array(facts["index"])][order]
    np.savez(tmp_path / "theirs.npz", x=raw, y=y)
    np.savez(tmp_path / "unit.npz", x=raw / 16.0, space="unit")
    np.savez(tmp_path / "seen.npz", images=set_of.x[order], space="normalized")
    grids = ("--config.labels.epochs=(4,)", "--config.labels.temperatures=(1.0,)")
    sets = []
    for name, words in (
        ("theirs.npz", ["--space=raw"]),
        ("unit.npz", []),
        ("seen.npz", []),
    ):
        workdir = tmp_path / f"run of {name}"
        words = [*words, *grids, "--config.evaluate.arms=False", expert_words(whole)]
        assert label(workdir, f"--images={tmp_path / name}", *words) == 0
        sets.append(dj.DistilledSet.load(workdir))
        np.testing.assert_allclose(sets[-1].x, set_of.x[order], atol=1e-5)
        np.testing.assert_allclose(sets[-1].y, sets[0].y, atol=1e-4)
    stored = sets[0].recipe["labels"]
    assert stored["images_sha256"] == hashlib.sha256(raw.tobytes()).hexdigest()
    assert stored["index"] is None
    again = tmp_path / "again"
    words = [*grids, expert_words(whole), "--config.evaluate.num_runs=1"]
    assert label(again, f"--images={tmp_path / 'run of seen.npz'}", *words) == 0
    np.testing.assert_allclose(dj.DistilledSet.load(again).y, sets[0].y, atol=1e-4)
    names = [row["name"] for row in results_of(again)["arms"]]
    assert {"own-labels", "chosen-labels"} <= set(names)


def test_images_of_an_npz_are_labelled_as_they_lie(
    whole, set_of, dataset, tmp_path, without_page
):
    order = np.random.default_rng(0).permutation(20)
    index = np.array(set_of.recipe["labels"]["index"])[order]
    np.savez(tmp_path / "theirs.npz", x=dataset.train.x[index] / 16.0, space="unit")
    words = [
        f"--config.labels.epochs=({set_of.recipe['labels']['epoch']},)",
        f"--config.labels.temperatures=({set_of.recipe['labels']['temperature']},)",
        "--config.evaluate.arms=False",
        expert_words(whole),
    ]
    assert label(tmp_path / "run", f"--images={tmp_path / 'theirs.npz'}", *words) == 0
    stored = dj.DistilledSet.load(tmp_path / "run")
    np.testing.assert_allclose(stored.x, set_of.x[order], atol=1e-5)
    np.testing.assert_allclose(stored.y, set_of.y[order], atol=1e-4)
    assert stored.recipe["labels"]["index"] is None


def test_a_teacher_of_ones_own_stands_in_for_experts(set_of, dataset, tmp_path):
    x, y = dataset.train
    logits = np.eye(10, dtype=np.float32)[y] * 5 + np.arange(10)
    path = dj.labels.write_logits(tmp_path / "mine.npz", x[::-1], logits[::-1])
    workdir = tmp_path / "run"
    assert label(workdir, f"--teacher={path}") == 0
    stored = dj.DistilledSet.load(workdir)
    facts = stored.recipe["labels"]
    assert (facts["epoch"], facts["experts"]) == (None, None)
    assert facts["teacher"]["file"] == str(path)
    chosen = logits[np.array(facts["index"])]
    expected = dj.labels.from_logits(chosen, facts["temperature"])
    np.testing.assert_allclose(stored.y, expected, atol=1e-6)
    assert "Teacher" in (workdir / "report.html").read_text()
    dj.labels.write_logits(path, x, logits + 1)
    assert label(workdir, f"--teacher={path}") == 2  # Not the file that it was.


def broken(path, **arrays):
    np.savez(path, **arrays)
    return path


PICTURES = np.zeros((20, 8, 8, 1), np.uint8)
HARD = np.eye(10, dtype=np.float32)[np.arange(20) % 10]
REFUSED = {
    "a temperature of 0": (
        lambda folder: ["--config.labels.temperatures=(0.0, 1.0)"],
        "The temperature is 0.0; it divides the logits and must be above 0",
    ),
    "a temperature that is none": (
        lambda folder: ["--config.labels.temperatures=('warm',)"],
        "`labels.temperatures` holds 'warm'; they are numbers",
    ),
    "an epoch that is not kept": (
        lambda folder: ["--config.labels.epochs=(2, 60)"],
        "Epoch 60 of the experts is to label, but it is not kept; they are trained for",
    ),
    "an epoch before those that are kept": (
        lambda folder: ["--config.experts.first_epoch=3"],
        "Epoch 2 of the experts is to label, but it is not kept",
    ),
    "more images than there are": (
        lambda folder: ["--config.num_per_class=500"],
        "500",
    ),
    "no validation split": (
        lambda folder: ["--config.data.validation_fraction=0.0"],
        "the epoch and the temperature are taken from the validation split",
    ),
    "experts of other networks": (
        lambda folder: [
            "--config.experts.network={'hidden': (9,)}",
            f"--config.experts.folder={folder / 'experts'}",
        ],
        "`hidden` of the network was [16], now [9]; use another folder",
    ),
    "images of nowhere": (
        lambda folder: [f"--images={folder / 'nowhere'}"],
        "There is no distilled set",
    ),
    "images without their space": (
        lambda folder: [f"--images={broken(folder / 'a.npz', x=PICTURES)}"],
        "does not say in which its images are; pass --space=raw",
    ),
    "images of an unknown space": (
        lambda folder: [
            f"--images={broken(folder / 'a.npz', x=PICTURES)}",
            "--space=pixels",
        ],
        'says "pixels" of the space in which its images are',
    ),
    "a space without images": (
        lambda folder: ["--space=raw"],
        "but no images are passed",
    ),
    "images of another shape": (
        lambda folder: [
            f"--images={broken(folder / 'a.npz', x=PICTURES[:, :7])}",
            "--space=raw",
        ],
        "have the shape (20, 7, 8, 1)",
    ),
    "images that are not finite": (
        lambda folder: [
            f"--images={broken(folder / 'a.npz', x=PICTURES * np.nan)}",
            "--space=raw",
        ],
        "holds numbers that are not finite",
    ),
    "labels of another class count": (
        lambda folder: [
            f"--images={broken(folder / 'a.npz', x=PICTURES, y=HARD[:, :9])}",
            "--space=raw",
        ],
        "The labels of",
    ),
    "negative labels": (
        lambda folder: [
            f"--images={broken(folder / 'a.npz', x=PICTURES, y=-HARD)}",
            "--space=raw",
        ],
        "has a probability of -1 in row 0, but none is negative",
    ),
    "labels that are not finite": (
        lambda folder: [
            f"--images={broken(folder / 'a.npz', x=PICTURES, y=HARD * np.nan)}",
            "--space=raw",
        ],
        "holds numbers that are not finite",
    ),
    "classes that there are not": (
        lambda folder: [
            f"--images={broken(folder / 'a.npz', x=PICTURES, y=np.arange(20))}",
            "--space=raw",
        ],
        "name classes from 0 to 19",
    ),
    "a file without images": (
        lambda folder: [f"--images={broken(folder / 'a.npz', z=PICTURES)}"],
        'but no images "x"',
    ),
    "logits of other images": (
        lambda folder: [
            "--teacher=" + str(dj.labels.write_logits(folder / "t.npz", PICTURES, HARD))
        ],
        "says nothing of 20 of the 20 images",
    ),
    "logits of nowhere": (
        lambda folder: [f"--teacher={folder / 'nowhere.npz'}"],
        "There is no file",
    ),
    "a method's config": (
        lambda folder: ["--config.kind=distill"],
        "use `distill-jax distill`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_told_in_a_sentence(case, whole, tmp_path, capsys):
    make, said = REFUSED[case]
    shutil.copytree(next((whole / "experts").iterdir()), tmp_path / "experts")
    assert label(tmp_path / "run", *make(tmp_path)) == 2
    assert said in complaint(capsys)
    assert not (tmp_path / "run" / "distilled.npz").exists()
    assert not (tmp_path / "run" / "experts").exists()


def test_a_set_of_other_data_is_refused(finished, tmp_path, capsys):
    words = [f"--images={finished}", "--config.data.validation_fraction=0.3"]
    assert label(tmp_path / "run", *words) == 2
    assert "their fingerprints differ" in complaint(capsys)
    assert label(tmp_path / "run", f"--images={finished}", "--space=raw") == 2
    assert "leave `--space` out" in complaint(capsys)


def test_the_test_split_may_choose_and_the_page_says_so(whole, tmp_path):
    words = ["--config.labels.chosen_on=test", "--config.evaluate.arms=False"]
    assert label(tmp_path / "run", *words, expert_words(whole)) == 0
    assert "is not a fair estimate" in (tmp_path / "run" / "report.html").read_text()
    stored = dj.DistilledSet.load(tmp_path / "run")
    assert stored.recipe["labels"]["chosen_on"] == "test"
