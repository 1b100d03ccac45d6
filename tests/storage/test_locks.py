# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One process at a time: others are refused, and a crash releases the lock."""

import errno
import fcntl
import os
import pathlib
import subprocess
import sys
import threading

import pytest

import distill_jax
from distill_jax import errors
from distill_jax.compute import processes
from distill_jax.runtime import workdir as workdirs
from distill_jax.storage import locks


def start(folder, seconds):
    """Another process that has the lock for so long."""
    code = f"""
import pathlib, time
from distill_jax.storage import locks
with locks.locked(pathlib.Path({str(folder)!r})):
    print("locked", flush=True)
    time.sleep({seconds})
"""
    root = pathlib.Path(distill_jax.__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert process.stdout.readline() == b"locked\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path):
    with start(tmp_path, 60) as process:
        sentence = rf"at work in {tmp_path} \(process {process.pid} on .*\); wait for"
        with pytest.raises(errors.InputError, match=sentence), locks.locked(tmp_path):
            pass
        process.kill()
    with locks.locked(tmp_path), locks.locked(tmp_path / "." / ""):
        pass


def test_another_thread_is_another_run(tmp_path):
    refused = []

    def work():
        with pytest.raises(errors.InputError, match="at work"), locks.locked(tmp_path):
            pass
        refused.append(True)

    with locks.locked(tmp_path):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert refused == [True]


def test_who_waits_gets_the_lock_when_the_other_ends(tmp_path, caplog):
    with start(tmp_path, 0.2), locks.locked(tmp_path, does_wait=True):
        assert "this one waits for it" in caplog.records[0].message


def test_where_there_are_no_locks_a_sentence_warns_and_the_work_goes_on(
    tmp_path, monkeypatch
):
    def none(*args):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    done = []
    with (
        pytest.warns(UserWarning, match=r"cannot be locked \(No locks available\)"),
        locks.locked(tmp_path),
    ):
        done.append(True)
    assert done


def test_the_first_process_of_a_run_takes_the_lock_and_the_others_do_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(processes, "is_first", lambda: False)
    with workdirs.locked(tmp_path / "run"):
        assert not (tmp_path / "run").exists()
    # When the first is refused, so are they: they would wait for it forever.
    monkeypatch.setattr(processes, "agree", lambda value: 1)
    with (
        pytest.raises(errors.InputError, match="first process of this run was refused"),
        workdirs.locked(tmp_path / "run"),
    ):
        pass
