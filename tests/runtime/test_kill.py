# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Runs in a process of their own that is killed, asked to stop, and started again."""

import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import child
import jax
import pytest
import toy

import distill_jax
from distill_jax.runtime import checkpoint, logging

NUM_KILLS = 5


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run in this process."""
    workdir = tmp_path_factory.mktemp("whole")
    state, _ = child.run(workdir)
    return state, logging.read_rows(workdir / "metrics.jsonl")


def _start(workdir):
    root = pathlib.Path(distill_jax.__file__).parents[1]
    return subprocess.Popen(
        [sys.executable, str(pathlib.Path(child.__file__)), str(workdir)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for(process, condition):
    """Waits until the condition holds; whether it did before the process ended."""
    for _ in range(60_000):
        if condition():
            return True
        if process.poll() is not None:
            return False
        time.sleep(0.001)
    raise AssertionError("the process did nothing for a minute")


def _assert_equal_to(whole, workdir):
    state, rows = whole
    checkpoints = checkpoint.Checkpoints(workdir / "checkpoints")
    assert checkpoints.latest() == child.ARGUMENTS["num_steps"]
    toy.assert_same(state, checkpoints.restore(jax.eval_shape(lambda: state)))
    again = logging.read_rows(workdir / "metrics.jsonl")
    assert toy.without_times(again) == toy.without_times(rows)


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_if_it_never_was(whole, tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoints = checkpoint.Checkpoints(folder)
    rng = random.Random(0)
    num_in_a_save = 0
    for i in range(NUM_KILLS):
        before = checkpoints.latest()
        process = _start(tmp_path)
        # Let it get on a little; then kill it in the middle of a save, or anywhere.
        assert _wait_for(process, lambda b=before: checkpoints.latest() != b), i
        if i % 2:
            assert _wait_for(process, lambda: any(folder.glob("unfinished_save*")))
        else:
            time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        num_in_a_save += any(folder.glob("unfinished_save*"))
    assert num_in_a_save
    process = _start(tmp_path)
    _, message = process.communicate(timeout=120)
    assert process.returncode == 0, message
    _assert_equal_to(whole, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends_with_its_number(whole, tmp_path, signum):
    checkpoints = checkpoint.Checkpoints(tmp_path / "checkpoints")
    process = _start(tmp_path)
    assert _wait_for(process, lambda: checkpoints.latest() is not None)
    process.send_signal(signum)
    _, message = process.communicate(timeout=60)
    assert process.returncode == 128 + signum
    latest = checkpoints.latest()
    assert latest < child.ARGUMENTS["num_steps"]
    assert f"Stopped by {signal.Signals(signum).name} after step {latest}" in message
    process = _start(tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == 0
    _assert_equal_to(whole, tmp_path)
