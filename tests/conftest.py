# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Set-up shared by all tests: devices, strictness, float64 on request, golden files."""

import os
import pathlib
import sys

# Before jax is imported: eight CPU devices for the sharding tests, the scheduler that
# cannot deadlock on several batched linear solves (jaxlib 0.10), and what makes
# compilation cheap, since tests compile far longer than they run: the older emitter of
# fused loops, one piece of machine code for each program, and no optimisation of it.
# (Where a maximum is differentiated a test asks for more: its derivative can be wrong.)
# `make test-all` compiles with the level that the library itself asks for on the CPU.
os.environ.setdefault("DISTILL_JAX_TEST_LEVEL", "0")
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_cpu_enable_concurrency_optimized_scheduler=false",
        "--xla_backend_optimization_level=" + os.environ["DISTILL_JAX_TEST_LEVEL"],
        "--xla_cpu_use_fusion_emitters=false",
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Many tests build the same program anew, some in processes of their own.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR",
    str(pathlib.Path(__file__).parents[1] / ".pytest_cache" / "jax"),
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
# A test that changes a function means the changed one.
os.environ["DISTILL_JAX_KEEP_TRACED"] = "false"

import jax
import numpy as np
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

GOLDEN = pathlib.Path(__file__).parent / "golden"
# Toys and helpers that tests of several rooms import.
sys.path.insert(0, str(pathlib.Path(__file__).parent / "support"))


# Those that take longest are begun first, so that no worker ends with one of them.
LONGEST_FIRST = (
    "tests/runtime/test_kill.py",
    "tests/objectives/test_gradient.py",
    "tests/compute/test_processes.py",
    "tests/objectives/test_trajectory.py",
    "tests/objectives/test_unrolled.py",
    "tests/test_docs.py",
    "tests/conformance/test_methods.py",
)


def pytest_collection_modifyitems(config, items):
    """Says which tests run in one process, in which order, and for how long.

    Tests of one file share what they compiled; those of the table of conformance do so
    for each method. A test that is `long` runs only where `-m` speaks of it.
    """
    for item in items:
        name = item.nodeid.split("::")[0]
        if "conformance" in name and hasattr(item, "callspec"):
            name += str(item.callspec.params.get("name"))
        item.add_marker(pytest.mark.xdist_group(name))
        if long := item.get_closest_marker("long"):
            item.add_marker(pytest.mark.timeout(long.kwargs["timeout"]))
    if "long" not in config.option.markexpr:
        long = [item for item in items if item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if not item.get_closest_marker("long")]
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.nodeid.split("::")[0], len(place)))


@pytest.fixture
def x64():
    """Float64 for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def golden():
    """Loads one golden file by name as a dictionary of arrays."""

    def load(name: str) -> dict[str, np.ndarray]:
        with np.load(GOLDEN / f"{name}.npz", allow_pickle=False) as file:
            return {key: file[key] for key in file.files}

    return load


@pytest.fixture
def golden_folder():
    """Where the golden files lie."""
    return GOLDEN


@pytest.fixture
def assert_near():
    """Compares in the form of the golden files' tolerances.

    The largest absolute error, over the largest absolute value of the reference (at
    least 1e-3).
    """

    def check(actual, reference, tolerance: float, what: str = "") -> None:
        actual, reference = np.asarray(actual), np.asarray(reference)
        assert actual.shape == reference.shape, (what, actual.shape, reference.shape)
        scale = max(float(np.abs(reference).max(initial=0.0)), 1e-3)
        error = float(np.abs(actual - reference).max(initial=0.0)) / scale
        assert error <= tolerance, f"{what}: error {error:.3g} above {tolerance:.3g}"

    return check


@pytest.fixture
def real_data_dir():
    """The folder of real data sets; skips where `DISTILL_JAX_DATA` is unset."""
    path = os.environ.get("DISTILL_JAX_DATA")
    if not path:
        pytest.skip("DISTILL_JAX_DATA is not set")
    return pathlib.Path(path)
