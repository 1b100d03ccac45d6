# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The journal and the config of a run that somebody or something has changed."""

import json
import os
import shutil
import warnings

import former
import jax
import pytest
import toy

from distill_jax import errors, runtime
from distill_jax.runtime import extents, logging, workdir
from distill_jax.storage import json_files

CONFIG = {"name": "toy", "rate": 0.1}


def run(folder, num_steps=20, config=CONFIG):
    return runtime.run(
        toy.recipe(),
        toy.DATA,
        num_steps=num_steps,
        key=jax.random.key(0),
        checkpoint_every=10,
        logging=runtime.LoggingOptions(log_every=2),
        workdir=folder,
        config=config,
    )


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    folder = tmp_path_factory.mktemp("origin") / "run"
    return folder, *run(folder)


@pytest.fixture
def copied(origin, tmp_path):
    return shutil.copytree(origin[0], tmp_path / "run")


def rows_of(folder):
    return toy.without_times(logging.read_rows(folder / "metrics.jsonl"))


def change(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


@pytest.mark.parametrize("kind", ["digit", "line", "twice", "end", "cut"])
def test_rows_of_the_last_steps_are_made_again(origin, copied, kind):
    path = copied / "metrics.jsonl"
    *lines, last = path.read_text().splitlines(keepends=True)
    damaged = {
        "digit": [*lines, last.replace('"loss": 0', '"loss": 1')],
        "line": [*lines[:-1], last],
        "twice": [*lines, last, lines[0]],
        "end": lines,
        "cut": [*lines, last[:-20]],
    }[kind]
    path.write_text("".join(damaged))
    if kind != "twice":
        with pytest.raises(errors.DamagedError, match="history were changed or lost"):
            extents.checked_rows(copied)
        with pytest.warns(UserWarning, match="Up to step 10 it is whole, so the run"):
            state, _ = run(copied)
    else:
        with pytest.raises(errors.DamagedError, match="row of step 2 behind those"):
            extents.checked_rows(copied)
        state, _ = run(copied)
    toy.assert_same(origin[1], state)
    assert rows_of(copied) == rows_of(origin[0])
    assert len(extents.checked_rows(copied)) == 10


def test_a_hole_before_all_checkpoints_is_refused_and_one_that_is_accepted_is_told(
    origin, copied
):
    path = copied / "metrics.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(errors.DamagedError, match="remove the file to go on without"):
        run(copied)
    path.unlink()
    with pytest.warns(UserWarning, match="no history to show"):
        assert extents.checked_rows(copied) == []
    with pytest.warns(UserWarning, match="hole: it goes on from step 20 without"):
        state, history = run(copied)
    toy.assert_same(origin[1], state)
    assert not history.step.size


def test_a_run_without_digests_goes_on_and_says_so(origin, copied, caplog):
    former.without_digests(copied)
    change(copied / "metrics.jsonl", '"norm"', '"norm" ')
    shutil.rmtree(copied / "checkpoints" / "step_20")
    state, _ = run(copied)
    toy.assert_same(origin[1], state)
    assert [r.message for r in caplog.records if "cannot be checked" in r.message]
    assert rows_of(copied) == rows_of(origin[0])
    caplog.clear()
    with warnings.catch_warnings(action="error"):
        run(copied)
    assert not caplog.records  # All has its digest now.


def change_digest(path):
    beside = path.with_name("config.json.sha256")
    beside.write_text("0" * 64 + beside.read_text()[64:])


DAMAGED_CONFIGS = {
    "changed": lambda path: change(path, "0.1", "0.2"),
    "cut": lambda path: path.write_text(path.read_text()[:9]),
    "gone": lambda path: path.unlink(),
    "beside another digest": change_digest,
}


@pytest.mark.parametrize("kind", DAMAGED_CONFIGS)
def test_a_damaged_config_is_made_whole_by_the_same_config_only(tmp_path, kind):
    workdir.claim(tmp_path, CONFIG)
    path = tmp_path / "config.json"
    right = path.read_text()
    DAMAGED_CONFIGS[kind](path)
    with pytest.raises(errors.DamagedError, match=r"not the config that is used now"):
        workdir.claim(tmp_path, {"rate": 0.2})
    with pytest.warns(UserWarning, match="it is written again"):
        workdir.claim(tmp_path, CONFIG)
    assert path.read_text() == right
    assert json_files.read(path, advice="-") == CONFIG
    with pytest.raises(errors.InputError, match=r"`rate` was 0\.1, now 0\.2"):
        workdir.claim(tmp_path, {"name": "toy", "rate": 0.2})


def test_a_json_file_without_its_digest_is_of_an_earlier_version_or_damaged(
    tmp_path, caplog
):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    assert json_files.read(path, advice="-") == CONFIG
    assert "cannot be checked" in caplog.records[0].message
    with pytest.raises(errors.DamagedError, match="is missing"):
        json_files.read(path, advice="-", is_required=True)
    path.write_bytes(b"\xff{")
    with pytest.raises(errors.DamagedError, match="could not be read as JSON"):
        json_files.read(path, advice="-")


def test_unfinished_files_of_a_killed_process_are_gone_after_the_next_start(tmp_path):
    leftovers = [
        tmp_path / ".config.json.999999999.tmp",
        tmp_path / f".mine.{os.getpid()}.tmp",
        tmp_path / "checkpoints" / "unfinished_save.orbax-checkpoint-tmp" / "x",
    ]
    for path in leftovers:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half of")
    (tmp_path / f".theirs.{os.getppid()}.tmp").write_text("of a process at work")
    run(tmp_path, num_steps=2)
    assert [path.exists() for path in leftovers] == [False] * 3
    assert (tmp_path / f".theirs.{os.getppid()}.tmp").exists()
