# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What a forecast tells is what happens."""

import pathlib
import subprocess
import sys

import jax
import pytest

import distill_jax as dj
from distill_jax import errors, runtime
from distill_jax.compute import memory

KEY = jax.random.key(0)
# Holds the parameters of all steps of training, some hundred megabytes.
PROGRAM = """
import pathlib
import re
import jax
import distill_jax as dj
from distill_jax import runtime

def held():
    told = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", told)[1])

data = dj.data.load("digits")
task = dj.tasks.classification(dj.nets.mlp(10, hidden=(1024, 1024)), data.spec)
recipe = dj.methods.bptt(
    task, num_per_class=1, num_inner_steps=30, batch_size=8, remat="none")
key = jax.random.key(0)
# The compiler itself takes memory, so that the program is compiled before.
told = runtime.forecast(recipe, data, num_steps=1, key=key, memory_bytes=0)
before = held()
told = runtime.forecast(recipe, data, num_steps=1, key=key)
print(told.peak_bytes, held() - before)
"""


@pytest.fixture(scope="module")
def problem():
    data = dj.data.load("digits")
    task = dj.tasks.classification(dj.nets.mlp(10, hidden=(64,)), data.spec)
    return dj.methods.dm(task, num_per_class=1, batch_size=16), data


def test_the_time_of_a_run_is_that_of_its_steps(problem):
    told = runtime.forecast(*problem, num_steps=2000, key=KEY)
    assert told.run_seconds == pytest.approx(2000 / told.steps_per_second)
    assert told.compile_seconds > 0


@pytest.mark.skipif(
    not pathlib.Path("/proc/self/status").exists(), reason="needs Linux"
)
def test_the_memory_of_a_run_is_foretold():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    foretold, held = map(int, done.stdout.split())
    assert foretold > 100e6
    assert 0.5 < held / foretold < 1.5


def test_what_does_not_fit_is_not_run(problem):
    told = runtime.forecast(*problem, num_steps=10, key=KEY, memory_bytes=10**5)
    assert not told.fits
    assert told.run_seconds is None
    assert told.peak_bytes > told.source_bytes > 0


def test_the_memory_of_this_device():
    assert 2**28 < runtime.device_memory() < 2**45


def test_a_container_has_what_it_is_given(tmp_path, monkeypatch):
    old, new = tmp_path / "limit_in_bytes", tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_LIMITS", (new, old))
    whole = runtime.device_memory()
    new.write_text("max\n")
    assert runtime.device_memory() == whole
    old.write_text("9223372036854771712\n")  # What stands there without a limit.
    assert runtime.device_memory() == whole
    new.write_text("300000000\n")
    assert runtime.device_memory() == 300_000_000
    assert runtime.device_memory(2) == 150_000_000


def test_two_devices_of_a_processor_share_its_memory(problem):
    recipe, data = problem
    spread = dj.compute.recipes.spread_recipe(
        recipe, data, dj.compute.parallel.device_mesh(2, axis="classes")
    )
    one = runtime.forecast(recipe, data, num_steps=1, key=KEY)
    two = runtime.forecast(spread, data, num_steps=1, key=KEY)
    assert two.memory_bytes == one.memory_bytes // 2


def test_bad_input(problem):
    with pytest.raises(errors.InputError, match="num_steps"):
        runtime.forecast(*problem, num_steps=0, key=KEY)
