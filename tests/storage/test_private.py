# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Folders that are private, and files that nobody else can forge."""

import hashlib
import os
import pathlib
import shutil

import pytest

from distill_jax.storage import private


def mode(path):
    return path.stat().st_mode & 0o777


@pytest.fixture
def loose():
    former = os.umask(0)
    yield
    os.umask(former)


@pytest.mark.usefixtures("loose")
def test_folders_are_private_under_any_umask(tmp_path):
    folder = tmp_path / "one" / "two"
    private.write(folder / "file", b"content")
    made = [tmp_path / "one", *(tmp_path / "one").rglob("*")]
    assert {mode(path) for path in made if path.is_dir()} == {0o700}


def test_a_folder_that_was_open_is_closed_and_what_others_could_write_is_gone(tmp_path):
    folder = tmp_path / "kept"
    private.write(folder / "own", b"content")
    (folder / "loose").write_bytes(b"whose?")
    (folder / "loose").chmod(0o666)
    folder.chmod(0o777)
    assert private.read(folder / "own") == b"content"
    assert mode(folder) == 0o700
    assert not (folder / "loose").exists()


def test_a_readable_folder_is_closed_and_keeps_its_files(tmp_path):
    folder = tmp_path / "kept"
    private.write(folder / "own", b"content")
    folder.chmod(0o755)
    private.make_folder(folder)
    assert mode(folder) == 0o700
    assert private.read(folder / "own") == b"content"


def test_the_folder_of_somebody_else_is_refused(tmp_path, monkeypatch):
    private.write(tmp_path / "kept" / "file", b"content")
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    with pytest.raises(private.ForeignError, match="belongs to another user"):
        private.make_folder(tmp_path / "kept")
    assert private.read(tmp_path / "kept" / "file") is None
    with pytest.raises(private.ForeignError):
        private.write(tmp_path / "kept" / "file", b"other")


def sealed_openly(content):
    """What somebody writes who does not have the key."""
    return hashlib.sha256(content).hexdigest().encode() + content


@pytest.mark.parametrize(
    "foreign", [b"", b"x", b"\x80\x02N.", sealed_openly(b"content"), bytes(4096)]
)
def test_foreign_content_is_none(tmp_path, foreign):
    path = tmp_path / "file"
    private.write(path, b"content")
    path.write_bytes(foreign)
    assert private.read(path) is None
    private.write(path, b"content")
    assert private.read(path) == b"content"


def test_every_changed_bit_is_seen(tmp_path):
    path = tmp_path / "file"
    private.write(path, b"content")
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert private.read(path) is None
    path.write_bytes(whole)
    assert private.read(path) == b"content"


def test_a_file_is_of_its_name_and_of_its_folder(tmp_path):
    one, two = tmp_path / "one" / "a", tmp_path / "two" / "a"
    private.write(one, b"content")
    private.write(two, b"other")
    shutil.copy(one, two)
    shutil.copy(one, one.with_name("b"))
    assert [private.read(path) for path in (one, two, one.with_name("b"))] == [
        b"content",
        None,
        None,
    ]


@pytest.mark.parametrize("key", [b"", b"short", bytes(1000)])
def test_a_key_that_is_none_is_drawn_anew(tmp_path, key):
    path = tmp_path / "file"
    private.write(path, b"content")
    (tmp_path / ".seal" / "key").write_bytes(key)
    assert private.read(path) is None
    private.write(path, b"again")
    assert private.read(path) == b"again"


def test_of_two_processes_the_first_draws_the_key(tmp_path, monkeypatch):
    keys = iter([b"1" * 32, b"2" * 32])
    link = os.link

    def other_first(source, target):
        monkeypatch.setattr(os, "link", link)
        pathlib.Path(target).write_bytes(next(keys))
        link(source, target)

    monkeypatch.setattr(os, "link", other_first)
    private.write(tmp_path / "file", b"content")
    assert (tmp_path / ".seal" / "key").read_bytes() == b"1" * 32
    assert private.read(tmp_path / "file") == b"content"
    assert [path.name for path in (tmp_path / ".seal").iterdir()] == ["key"]


def test_what_is_no_file_is_none(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    assert private.read(tmp_path / "pipe") is None
    assert private.read(tmp_path / "folder") is None
