# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Checkpoints on a disk that has changed: noticed, named, and the one before taken."""

import json
import logging
import pathlib
import random
import shutil

import former
import jax
import numpy as np
import pytest
import toy

from distill_jax import errors, runtime
from distill_jax.runtime import checkpoint, orbax_files
from distill_jax.storage import digests

STATE = {"x": np.arange(12.0), "bf16": jax.numpy.ones(3, "bfloat16"), "key": None}
STATE["key"] = jax.random.key(1)


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints = checkpoint.Checkpoints(folder)
    for step in (1, 2):
        checkpoints.save(step, STATE | {"x": STATE["x"] * step}, {"step": step})
    return folder


@pytest.fixture
def copied(origin, tmp_path):
    shutil.copytree(origin, tmp_path / "copy")
    return tmp_path / "copy"


def files_of(folder, step):
    paths = sorted(path for path in folder.glob(f"step_{step}/**/*") if path.is_file())
    assert len(paths) > 5
    return paths


def flip(path, dice):
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


DAMAGES = {
    "flipped": flip,
    "cut": lambda path, dice: path.write_bytes(path.read_bytes()[:-1]),
    "emptied": lambda path, dice: path.write_bytes(b""),
    "removed": lambda path, dice: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_every_file_of_a_checkpoint_is_checked(origin, tmp_path, damage):
    dice = random.Random(0)
    for number, path in enumerate(files_of(origin, 2)):
        if damage != "removed" and not path.stat().st_size:
            continue
        folder = tmp_path / str(number)
        shutil.copytree(origin, folder)
        DAMAGES[damage](folder / path.relative_to(origin), dice)
        checkpoints = checkpoint.Checkpoints(folder)
        with pytest.raises(errors.DamagedError, match=r"damaged"):
            checkpoints.restore(STATE, 2)
        with pytest.warns(UserWarning, match=r"set aside, and step 1 is taken"):
            assert checkpoints.newest_whole() == 1
        assert checkpoints.steps() == [1]
        assert (folder / "step_2.damaged").is_dir()
        assert checkpoints.facts() == {"step": 1}
        toy.assert_same(STATE, checkpoints.restore(STATE))


def test_if_all_are_damaged_they_stay_and_a_sentence_says_so(copied):
    for step in (1, 2):
        flip(files_of(copied, step)[0], random.Random(0))
    checkpoints = checkpoint.Checkpoints(copied)
    with pytest.raises(errors.DamagedError, match=r"steps \[1, 2\], are damaged; put"):
        checkpoints.newest_whole()
    assert checkpoints.steps() == [1, 2]


def test_a_leaf_that_comes_back_as_another_is_named(copied, monkeypatch):
    load = orbax_files.load

    def other(path):
        arrays = load(path)
        return arrays | {"00002": np.nextafter(arrays["00002"], 9)}

    monkeypatch.setattr(orbax_files, "load", other)
    with pytest.raises(errors.DamagedError, match=r"`\['x'\] float64\[12\]` is not"):
        checkpoint.Checkpoints(copied).restore(STATE)


def test_a_checkpoint_of_an_earlier_version_is_read_and_cannot_be_checked(
    copied, caplog
):
    former.without_manifest(copied / "step_2")
    checkpoints = checkpoint.Checkpoints(copied)
    assert checkpoints.newest_whole() == 2
    (line,) = [r.message for r in caplog.records if r.levelno >= logging.WARNING]
    assert "step_2` was written by an earlier version" in line
    assert checkpoints.facts() == {"step": 2}
    toy.assert_same(STATE | {"x": STATE["x"] * 2}, checkpoints.restore(STATE))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_orbax_cannot_read_becomes_a_sentence_and_the_older_is_taken(
    copied, caplog
):
    former.without_manifest(copied / "step_2")
    (largest,) = sorted(files_of(copied, 2), key=lambda path: path.stat().st_size)[-1:]
    largest.write_bytes(largest.read_bytes()[:100])
    with pytest.warns(UserWarning, match="could not be read .*, and step 1 is taken"):
        assert checkpoint.Checkpoints(copied).newest_whole() == 1
    assert not [record for record in caplog.records if record.name == "absl"]


@pytest.mark.parametrize("key", ["facts_sha256", "facts_version", "facts", "files"])
def test_a_digest_that_is_missing_is_damage(copied, key):
    path = copied / "step_2" / "manifest.json"
    document = json.loads(path.read_text())
    del document[key]
    path.write_text(json.dumps(document))
    with pytest.raises(errors.DamagedError, match="not what was written"):
        checkpoint.Checkpoints(copied).check(2)


def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one(tmp_path):
    def run(folder):
        arguments = {"num_steps": 20, "key": jax.random.key(0), "checkpoint_every": 10}
        return runtime.run(toy.recipe(), toy.DATA, workdir=folder, **arguments)

    state, history = run(tmp_path / "run")
    flip(files_of(tmp_path / "run" / "checkpoints", 20)[-1], random.Random(0))
    with pytest.warns(UserWarning, match="step 10 is taken"):
        again, told = run(tmp_path / "run")
    toy.assert_same(state, again)
    assert history.loss.tolist() == told.loss.tolist()
    left = pathlib.Path(tmp_path, "run", "checkpoints").iterdir()
    assert sorted(p.name for p in left) == ["step_10", "step_20", "step_20.damaged"]


def test_a_digest_is_that_of_the_content_not_of_its_layout():
    one = np.arange(6.0).reshape(2, 3)
    assert digests.of_array(one) == digests.of_array(np.asfortranarray(one))
    assert digests.of_array(one) != digests.of_array(one.T)
    assert digests.of_json({"a": 1.0}) != digests.of_json({"a": 1.5})
