# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The command line as a person meets it: what works, and what is told if it cannot."""

import errno
import gzip
import json
import os
import pathlib
import pickle
import re
import shutil
import struct

import former as support
import numpy as np
import PIL.Image
import pytest

from distill_jax import data, nets
from distill_jax.cli import finished_run, main, networks
from distill_jax.storage import atomic, distilled

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = f"--config={ROOT / 'configs' / 'digits_frepo.py'}:runlocal"
TINY = [
    CONFIG,
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
    return stop.value.code


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished tiny run."""
    workdir = tmp_path_factory.mktemp("run") / "digits"
    assert call("distill", *TINY, f"--workdir={workdir}") == 0
    return workdir


@pytest.mark.slow
def test_distill_leaves_everything_behind(finished):
    names = {path.name for path in finished.iterdir()}
    assert names >= {
        "config.json",
        "metrics.jsonl",
        "checkpoints",
        "distilled.npz",
        "distilled.json",
        "results.json",
        "report.html",
    }
    results = json.loads((finished / "results.json").read_text())
    assert sum(arm["is_distilled"] for arm in results["arms"]) == 1
    assert len(results["arms"]) == 5
    assert all(0 < arm["accuracy_mean"] <= 1 for arm in results["arms"])
    stored = distilled.DistilledSet.load(finished)
    assert stored.x.shape == (20, 8, 8, 1)
    assert stored.targets == "centred"


@pytest.mark.slow
def test_the_same_command_again_changes_no_number(finished, capsys):
    before = (finished / "results.json").read_text()
    assert call("distill", *TINY, f"--workdir={finished}") == 0
    assert (finished / "results.json").read_text() == before
    assert "report.html" in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_whose_results_name_no_metrics_is_reported(finished, tmp_path):
    former = tmp_path / "former"
    shutil.copytree(finished, former)
    support.without_digests(former)
    results = json.loads((former / "results.json").read_text())
    assert [each["name"] for each in results.pop("metrics")] == ["accuracy"]
    for arm in results["arms"]:
        assert arm.pop("num_diverged") == 0
    (former / "results.json").write_text(json.dumps(results))
    rows = (former / "metrics.jsonl").read_text()
    assert '"num_diverged": 0' in rows
    rows = re.sub(r'"num_diverged": [0-9.]+, ', "", rows)
    (former / "metrics.jsonl").write_text(rows)
    pages = []
    for folder in (finished, former):
        assert call("report", f"--workdir={folder}") == 0
        pages.append((folder / "report.html").read_text())
    assert pages[0] == pages[1].replace(str(former), str(finished))
    assert "Diverged" not in pages[0]


@pytest.mark.slow
def test_if_all_networks_diverge_the_set_is_kept(tmp_path, capsys):
    wild = ["--config.protocol.learning_rate=1e30", "--config.evaluate.arms=False"]
    assert call("distill", *TINY, *wild, f"--workdir={tmp_path}/run") == 3
    told = capsys.readouterr().err
    assert "diverged: their outputs are not finite, or they fit" in told
    assert "Lower the learning rate" in told
    stored = distilled.DistilledSet.load(tmp_path / "run")
    assert np.isfinite(stored.x).all()
    assert not (tmp_path / "run" / "results.json").exists()


@pytest.mark.slow
def test_another_config_in_the_same_folder_is_refused(finished, capsys):
    argv = [*TINY, "--config.seed=5", f"--workdir={finished}"]
    assert call("distill", *argv) == 2
    assert "seed" in capsys.readouterr().err


@pytest.mark.slow
def test_evaluate_works_on_the_stored_set_and_with_another_network(finished, capsys):
    assert call("evaluate", f"--distilled={finished}", "--num_runs=2") == 0
    first = capsys.readouterr().out
    assert "mlp, hidden [8]" in first
    other = '--network={"name": "convnet", "width": 4, "depth": 2}'
    assert call("evaluate", f"--distilled={finished}", "--num_runs=2", other) == 0
    assert "convnet, width 4, depth 2" in capsys.readouterr().out


@pytest.mark.slow
def test_several_networks_make_a_table_that_the_report_shows(finished, capsys):
    networks = '--network=[{"name": "mlp", "hidden": [4]}, "vgg11"]'
    words = [f"--distilled={finished}", "--num_runs=2", "--random", networks]
    assert call("evaluate", *words) == 0
    told = capsys.readouterr().out
    assert "Random" in told
    assert 'vgg11" halves a picture' in told
    rows = json.loads((finished / "transfer.json").read_text())
    assert [row["num_parameters"] for row in rows] == [65 * 4 + 5 * 10, None]
    assert call("report", f"--workdir={finished}") == 0
    page = (finished / "report.html").read_text()
    assert "Other networks" in page
    assert "mlp, hidden [4]" in page


@pytest.mark.slow
def test_report_is_written_again(finished):
    (finished / "report.html").unlink()
    assert call("report", f"--workdir={finished}") == 0
    assert (finished / "report.html").stat().st_size > 10_000


@pytest.mark.slow
def test_a_report_is_not_written_with_other_data(finished, tmp_path, capsys):
    folder = tmp_path / "data"
    folder.mkdir()
    digits = data.load("digits")
    names = ("x_train", "y_train", "x_test", "y_test")
    parts = (digits.train.x, digits.train.y, digits.test.x, digits.test.y)
    mine = dict(zip(names, parts, strict=True))
    run, place = tmp_path / "run", f"--config.data.name=npz:{folder / 'mine.npz'}"
    np.savez(folder / "mine.npz", **mine)
    words = [*TINY, place, "--config.evaluate.arms=False", f"--workdir={run}"]
    assert call("distill", *words) == 0
    page = (run / "report.html").read_text()
    mine["x_train"] = mine["x_train"][::-1]
    mine["y_train"] = mine["y_train"][::-1]
    np.savez(folder / "mine.npz", **mine)
    assert call("report", f"--workdir={run}") == 2
    assert "their fingerprints differ" in capsys.readouterr().err
    assert (run / "report.html").read_text() == page


@pytest.mark.slow
def test_a_changed_distilled_set_is_refused(finished, tmp_path, capsys):
    for name in ("distilled.npz", "distilled.json"):
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    content = bytearray((tmp_path / "distilled.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "distilled.npz").write_bytes(bytes(content))
    assert call("evaluate", f"--distilled={tmp_path}") == 2
    assert "distilled.npz" in capsys.readouterr().err


def idx(path, shape, magic=None):
    """A gzipped IDX file of zeros."""
    header = struct.pack(">HBB", 0, 8, len(shape)) if magic is None else magic
    header += b"".join(struct.pack(">I", size) for size in shape)
    path.write_bytes(gzip.compress(header + bytes(int(np.prod(shape)))))


def mnist(folder, **kwargs):
    for part, num in (("train", 20), ("t10k", 10)):
        idx(folder / f"{part}-images-idx3-ubyte.gz", (num, 28, 28), **kwargs)
        idx(folder / f"{part}-labels-idx1-ubyte.gz", (num,))


def make_truncated(folder):
    mnist(folder)
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:20])


def make_corrupt(folder):
    mnist(folder)
    path = folder / "train-images-idx3-ubyte.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))


def make_foreign_pickle(folder):
    inner = folder / "cifar-10-batches-py"
    inner.mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        (inner / name).write_bytes(pickle.dumps(pathlib.PurePosixPath("x"), 2))


def make_npz(folder, **change):
    rng = np.random.default_rng(0)
    arrays = {
        "x_train": rng.random((40, 8, 8, 1), np.float32),
        "y_train": np.repeat(np.arange(4), 10),
    }
    np.savez(folder / "set.npz", **{**arrays, **change})


def make_mixed_images(folder):
    for name, size in (("a", 8), ("b", 9)):
        (folder / name).mkdir()
        for number in range(4):
            picture = PIL.Image.fromarray(np.zeros((size, size), np.uint8))
            picture.save(folder / name / f"{number}.png")


NAN = np.full((40, 8, 8, 1), np.nan, np.float32)
BAD_DATA = {  # what is laid out, the data set asked for, what the sentence must say
    "unknown": (None, "digit", "digits"),
    "missing folder": (None, "folder:nowhere", "nowhere"),
    "empty folder": (None, "folder:{}", "class"),
    "truncated gz": (make_truncated, "mnist", "train-images"),
    "corrupt gz": (make_corrupt, "mnist", "train-images"),
    "wrong magic": (lambda f: mnist(f, magic=b"abcd"), "mnist", "begins with"),
    "foreign pickle": (make_foreign_pickle, "cifar10", "refuse"),
    "label out of range": (
        lambda f: make_npz(f, y_train=np.repeat([0, 1, 2, -7], 10)),
        "npz:{}/set.npz",
        "-7",
    ),
    "NaN pixels": (lambda f: make_npz(f, x_train=NAN), "npz:{}/set.npz", "finite"),
    "mixed sizes": (make_mixed_images, "folder:{}", "size"),
    "few per class": (make_npz, "npz:{}/set.npz", "num_per_class"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data_end_in_one_sentence_and_write_nothing(case, tmp_path, capsys):
    make, name, said = BAD_DATA[case]
    folder = tmp_path / "data"
    folder.mkdir()
    if make is not None:
        make(folder)
    workdir = tmp_path / "run"
    code = call(
        "distill",
        *TINY,
        f"--config.data.name={name.format(folder)}",
        f"--config.num_per_class={9 if case == 'few per class' else 1}",
        f"--data_dir={folder}",
        f"--workdir={workdir}",
    )
    told = capsys.readouterr().err
    assert code == 2
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert told.startswith("distill-jax: ")
    assert not list(workdir.glob("distilled*"))
    assert not list(workdir.glob("checkpoints/*"))


BAD_WORDS = {  # what is passed, what the sentence must say
    "no config": (["--workdir=x"], "--config"),
    "missing config": (["--config=nowhere.py", "--workdir=x"], "nowhere.py"),
    "no workdir": ([CONFIG], "--workdir"),
    "unknown field": ([CONFIG, "--config.num_per_clas=1"], '"num_per_class"'),
    "unknown option": ([CONFIG, "--config.method.rigde=1"], '"ridge"'),
    "no number": ([CONFIG, "--config.num_per_class=many"], "many"),
    "unknown argument": ([f"{CONFIG}x"], "runlocal"),
    "unknown flag": ([CONFIG, "--wrkdir=x"], "workdir"),
    "stray word": ([CONFIG, "now"], '"now"'),
    "zero per class": ([*TINY, "--config.num_per_class=0"], "num_per_class"),
    "zero steps": ([*TINY, "--config.num_steps=0"], "num_steps"),
    "negative rate": ([*TINY, "--config.method.learning_rate=-1"], "learning_rate"),
    "negative ridge": ([*TINY, "--config.method.ridge=-1"], "ridge"),
    "zero batch": ([*TINY, "--config.method.batch_size=0"], "batch_size"),
    "unknown method": ([*TINY, "--config.method.name=frepoo"], '"frepo"'),
    "unknown network": ([*TINY, "--config.network.name=mlpp"], '"mlp"'),
    "negative devices": ([*TINY, "--config.num_devices=-3"], "num_devices"),
    "negative points": (
        [*TINY, "--config.evaluate.num_curve_points=-1"],
        "num_curve_points",
    ),
    "zero runs": ([*TINY, "--config.evaluate.num_runs=0"], "num_runs"),
    "zero epochs": (
        [*TINY, "--config.evaluate.num_expert_epochs=0"],
        "num_expert_epochs",
    ),
    "zero checkpoint": ([*TINY, "--config.checkpoint_every=0"], "checkpoint_every"),
    "no validation": (
        [*TINY, "--config.data.validation_fraction=0.0"],
        "validation_fraction",
    ),
    "negative momentum": ([*TINY, "--config.protocol.momentum=-1"], "momentum"),
    "too many devices": ([*TINY, "--config.num_devices=999"], "999"),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_bad_words_end_in_one_sentence(case, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words, said = BAD_WORDS[case]
    if case not in ("no workdir", "no config", "missing config"):
        words = [*words, "--workdir=run"]
    assert call("distill", *words) == 2
    told = capsys.readouterr().err
    assert said in told
    assert len(told.strip().splitlines()) == 1
    assert not list(tmp_path.glob("run/distilled*"))


def test_a_network_that_does_not_fit_the_data_is_refused(tmp_path, capsys):
    config = ROOT / "configs" / "digits_dm.py"
    code = call(
        "distill",
        f"--config={config}:runlocal",
        "--config.network.depth=5",
        f"--workdir={tmp_path / 'run'}",
    )
    assert code == 2
    assert "(8, 8, 1)" in capsys.readouterr().err


def test_a_workdir_that_cannot_be_written_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert call("distill", *TINY, f"--workdir={tmp_path / 'file' / 'run'}") == 2
    assert "file" in capsys.readouterr().err


@pytest.mark.slow
def test_a_full_disk_while_results_are_stored_is_told(tmp_path, capsys, monkeypatch):
    def full(path, text):
        if path.name == "results.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return replace_file(path, text)

    replace_file = atomic.replace_file
    monkeypatch.setattr(atomic, "replace_file", full)
    words = [*TINY, "--config.evaluate.arms=False", f"--workdir={tmp_path / 'run'}"]
    assert call("distill", *words) == 2
    assert "full" in capsys.readouterr().err
    monkeypatch.undo()
    assert call("distill", *words) == 0
    assert (tmp_path / "run" / "report.html").exists()


@pytest.mark.slow
def test_a_stored_set_without_a_key_or_a_recipe_is_refused(finished, tmp_path, capsys):
    whole = distilled.DistilledSet.load(finished)
    bare = distilled.DistilledSet(whole.x, whole.y, targets="centred")
    bare.save(f"{tmp_path}/bare")
    assert call("evaluate", f"--distilled={tmp_path / 'bare'}") == 2
    assert "recipe" in capsys.readouterr().err
    facts = json.loads((finished / "distilled.json").read_text())
    del facts["targets"]
    (tmp_path / "distilled.json").write_text(json.dumps(facts))
    (tmp_path / "distilled.npz").write_bytes((finished / "distilled.npz").read_bytes())
    assert call("evaluate", f"--distilled={tmp_path}") == 2
    assert "targets" in capsys.readouterr().err


@pytest.mark.slow
def test_the_config_that_is_read_again_is_the_one_that_was_stored(finished):
    config = finished_run.stored_config(finished).to_dict()
    assert config == distilled.DistilledSet.load(finished).config
    assert config["network"] == {"name": "mlp", "hidden": [8]}


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("all", ["mlp", "alexnet", "convnet", "resnet18", "vgg11"]),
        ("convnet, mlp", ["convnet", "mlp"]),
        ('["mlp", {"name": "resnet18", "width": 4}]', ["mlp", "resnet18"]),
    ],
)
def test_several_networks_are_named_in_three_ways(words, names):
    own = {"name": "mlp", "num_classes": 10, "hidden": [8]}
    found = networks.several(words, own, data.load("digits").spec)
    assert networks.is_several(words)
    assert [description["name"] for description in found] == names
    for description in found:
        assert nets.build(description).description["num_classes"] == 10
    if words == "all":
        assert found[0] == own


def test_commands_are_suggested(capsys):
    assert call("distil") == 2
    assert '"distill"' in capsys.readouterr().err
    assert call() == 2
    assert call("help") == 0
    assert "--workdir" in capsys.readouterr().out


def test_evaluate_needs_a_distilled_set(tmp_path, capsys):
    assert call("evaluate") == 2
    assert "--distilled" in capsys.readouterr().err
    assert call("evaluate", f"--distilled={tmp_path}") == 2
    assert "distilled" in capsys.readouterr().err


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.py")), ids=str)
def test_every_config_loads_and_shrinks(path):
    import importlib.util

    spec = importlib.util.spec_from_file_location("config_under_test", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    whole, small = module.get_config(), module.get_config("runlocal")
    assert whole.to_json() != small.to_json()
    if whole.kind == "distill":
        assert whole.num_steps >= small.num_steps
    for word in ("Paper:", "Command:", "Hardware:", "Reached:"):
        assert word in module.__doc__
