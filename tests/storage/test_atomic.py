# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Files are replaced whole, together, and by processes that are killed meanwhile."""

import json
import os
import pathlib
import subprocess
import sys

import killed_save
import pytest

import distill_jax
from distill_jax.storage import atomic


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_set_saved_over_another_by_a_killed_process_is_the_old_or_the_new(tmp_path):
    root = pathlib.Path(distill_jax.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, killed_save.__file__, tmp_path],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    outcomes = json.loads(done.stdout)
    assert len(outcomes) >= 6  # Two contents, a note, two renames, the note's end.
    for first, again in outcomes:
        assert first in (["whole", [1.0]], ["whole", [2.0]])
        assert again == first
    assert outcomes[0][0][1] == [1.0]
    assert outcomes[-1][0][1] == [2.0]


def test_files_and_their_folder_are_put_onto_the_disk(tmp_path, monkeypatch):
    flushed = []
    flush = os.fsync

    def spy(descriptor):
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    atomic.replace_file(tmp_path / "one", "1")
    hidden = tmp_path / f".one.{os.getpid()}.tmp"
    assert flushed == [str(hidden), str(tmp_path)]
    new = tmp_path / "new"
    new.mkdir()
    (new / "file").write_text("text")
    flushed.clear()
    atomic.replace_folder(new, tmp_path / "target", removed=tmp_path / "removed")
    assert flushed == [str(new / "file"), str(new), str(tmp_path)]


@pytest.mark.parametrize("failing_call", range(1, 4))
def test_what_was_there_stays_when_the_disk_is_full(
    tmp_path, monkeypatch, failing_call
):
    files = {tmp_path / name: name for name in ("one", "two")}
    atomic.replace_files(files)
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) == failing_call:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        atomic.replace_files({path: b"new" for path in files})
    assert [path.read_text() for path in files] == ["one", "two"]
    assert names(tmp_path) == ["one", "two"]


def test_renames_that_are_left_are_done_before_others(tmp_path):
    one, two = (tmp_path / name for name in ("one", "two"))
    for name in (".one.7.tmp", ".two.7.tmp"):
        (tmp_path / name).write_text("of a killed process")
    renames = [[".one.7.tmp", "one"], [".two.7.tmp", "two"]]
    (tmp_path / ".two.renames").write_text(json.dumps(renames))
    atomic.replace_files({one: "1", two: "2"})
    atomic.finish(two)
    assert (one.read_text(), two.read_text()) == ("1", "2")
    assert names(tmp_path) == ["one", "two"]


@pytest.mark.parametrize(
    "text", ["{", "[[1]]", '[["../outside", "two"]]', '[["", ".."]]', "7"]
)
def test_what_is_no_note_renames_nothing(tmp_path, text):
    (tmp_path / "outside").write_text("stays")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "two").write_text("2")
    (folder / ".two.renames").write_text(text)
    atomic.finish(folder / "two")
    assert (folder / "two").read_text() == "2"
    assert (tmp_path / "outside").read_text() == "stays"
    assert names(folder) == ["two"]


def test_a_folder_takes_the_place_of_another(tmp_path):
    new, target, removed = (tmp_path / name for name in ("new", "target", "removed"))
    for folder in (new, target):
        folder.mkdir()
        (folder / folder.name).write_text("")
    atomic.replace_folder(new, target, removed=removed)
    assert names(tmp_path) == ["target"]
    assert names(target) == ["new"]
    atomic.remove_folder(target, removed=removed)
    assert names(tmp_path) == []
