# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Takes the time of several programs that do the same work, in turns."""

import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax.compute import devices, parallel

__all__ = [
    "Contest",
    "check_agreement",
    "geometric_mean",
    "hardware",
    "matmul_gflops",
    "over_devices",
    "take_turns",
]

TOLERANCE = 1e-4
# Of an update, where rounding changes the side of some ReLUs: PyTorch's own update of
# pictures in float32 is 6e-4 from that in float64.
UPDATE_TOLERANCE = 1e-2


class Contest(NamedTuple):
    """Programs that were seen to agree; each does a number of units of work."""

    unit: str  # of work, in the plural
    fns: Mapping[str, Callable[[int], Any]]  # "jax" and forms of PyTorch's side
    compile_seconds: float


def take_turns(contest: Contest, *, num_pairs: int, budget: float) -> dict[str, Any]:
    """Units per second of all programs, and how PyTorch's times compare with ours.

    Args:
      contest: the programs, warmed up.
      num_pairs: how often each has its turn.
      budget: seconds for all, roughly.

    Returns:
      A row of the results.
    """
    fns = contest.fns
    forms = [name for name in fns if name != "jax"]
    once = seconds(fns[forms[0]], 1)
    count = min(100, max(1, round(budget / num_pairs / len(fns) / once)))
    times: dict[str, list[float]] = {name: [] for name in fns}
    for _ in range(num_pairs):
        for name, fn in fns.items():
            times[name].append(seconds(fn, count))
    best = min(forms, key=lambda form: statistics.median(times[form]))
    compared = {
        f"torch_{form}_over_jax": ratios(times[form], times["jax"]) for form in forms
    }
    return {
        "unit": contest.unit,
        "per_second": {
            name: 1 / statistics.median(each) for name, each in times.items()
        },
        "best_torch": best,
        **compared,
        "compile_seconds": contest.compile_seconds,
        "units_per_turn": count,
    }


def check_agreement(case, form, loss, other_loss, moved, other_moved) -> None:
    """Raises unless both sides came to the same loss and the same update."""
    off = abs(loss - other_loss) / abs(other_loss)
    off_moved = np.linalg.norm(moved - other_moved) / np.linalg.norm(other_moved)
    if not (off < TOLERANCE and off_moved < UPDATE_TOLERANCE):
        raise RuntimeError(
            f"{case}, {form}: {loss} and {other_loss}, and the updates differ by "
            f"{off_moved:.1e} of their size."
        )


def over_devices(fn: Callable, *args: Any) -> tuple[Callable, tuple]:
    """A function of ours and its arguments on both halves of the processor."""
    mesh = devices.usual_mesh()
    if mesh is None:
        return fn, args
    everywhere = jax.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return parallel.over_mesh(fn, mesh), jax.device_put(args, everywhere)


def seconds(fn: Callable, count: int) -> float:
    """Per step."""
    start = time.perf_counter()
    fn(count)
    return (time.perf_counter() - start) / count


def ratios(slow: list[float], fast: list[float]) -> dict[str, float]:
    """The median ratio of the pairs, with the smallest and the largest."""
    each = [s / f for s, f in zip(slow, fast, strict=True)]
    return {"median": statistics.median(each), "min": min(each), "max": max(each)}


def geometric_mean(rows: Mapping[str, Mapping]) -> float:
    """Of the median ratios to the best form of PyTorch."""
    best = (row[f"torch_{row['best_torch']}_over_jax"] for row in rows.values())
    return statistics.geometric_mean(ratio["median"] for ratio in best)


def matmul_gflops(size: int = 2048) -> float:
    """What the machine can do: a large product in float32, the best of five."""
    key_a, key_b = jax.random.split(jax.random.key(0))
    a, b = (jax.random.normal(key, (size, size)) for key in (key_a, key_b))
    product = jax.jit(jnp.matmul)
    run = lambda count: jax.block_until_ready(product(a, b))
    run(1)
    return 2 * size**3 / min(seconds(run, 1) for _ in range(5)) / 1e9


def hardware() -> str:
    """The name by which results are comparable."""
    text = pathlib.Path("/proc/cpuinfo")
    lines = text.read_text().splitlines() if text.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"
