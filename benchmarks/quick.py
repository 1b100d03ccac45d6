# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Steps per second of the loops that most time goes into, in under three minutes.

Each row is one compiled loop over random inputs, timed five times after a warm-up; the
median counts, with the extremes beside it, and the seconds to compile apart. Rows are
compared with the last recorded results of the same hardware.

Command: make bench-quick          (``--record`` writes benchmarks/results/quick.json)
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import distill_jax as dj
from distill_jax import base, evaluation
from distill_jax.compute import compiling
from distill_jax.data import Arrays, Dataset, DataSpec
from distill_jax.training import loop

RESULTS = pathlib.Path(__file__).parent / "results" / "quick.json"
NUM_REPEATS = 5


def random_data(size: int, num: int = 2560) -> Dataset:
    """A data set of random pictures."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (num, size, size, 1), np.uint8)
    y = np.repeat(np.arange(10, dtype=np.int32), num // 10)
    normalizer = dj.data.mean_std_normalizer(x, scale=1 / 255)
    spec = DataSpec("random", (size, size, 1), 10, tuple("0123456789"), normalizer, "")
    arrays = Arrays(x, y)
    return Dataset(arrays, Arrays(x[:500], y[:500]), Arrays(x[:500], y[:500]), spec)


def training(data: Dataset, task: base.Task) -> tuple[Callable, tuple, int]:
    """Twenty SGD steps of 64 pictures."""
    protocol = evaluation.Protocol(num_steps=20, batch_size=64)
    examples = base.Examples(
        dj.data.normalize(data.spec.normalizer, data.train.x),
        jax.nn.one_hot(data.train.y, 10),
    )
    fn = lambda key, examples: evaluation.train(key, task, examples, protocol)[0]
    return fn, (jax.random.key(0), examples), 20


def outer_steps(recipe: base.Recipe, data: Dataset, num: int):
    """Some outer steps of a method."""
    run = dj.runtime.scan_steps(recipe.method, recipe.sampler, num_steps=num)
    seed = recipe.initial_fn(jax.random.key(1), data)
    state = jax.jit(recipe.method.init)(jax.random.key(2), seed)
    return run, (jax.random.key(3), state, recipe.source_fn(data)), num


def judging(data: Dataset, task: base.Task) -> tuple[Callable, tuple, int]:
    """Five networks trained on ten pictures for fifty steps, and tested on 500."""
    protocol = evaluation.Protocol(num_steps=50)
    x = dj.data.normalize(data.spec.normalizer, data.train.x[::256])
    few = base.Examples(x, jax.nn.one_hot(np.arange(10), 10))

    def one(key, few, x):
        variables, _ = evaluation.train(key, task, few, protocol)
        last = jax.tree.map(lambda leaf: leaf[-1], variables)
        logits = loop.predict_logits(task, last, x, normalizer=data.spec.normalizer)
        return logits.argmax(-1)

    fn = lambda keys, few, x: jax.lax.map(lambda key: one(key, few, x), keys)
    return fn, (jax.random.split(jax.random.key(4), 5), few, data.test.x), 5


def rows() -> dict[str, tuple[Callable, tuple, int]]:
    """Name -> function, arguments, units of work in a call."""
    small, large = random_data(8), random_data(28)
    mlp = dj.tasks.classification(dj.nets.mlp(10, hidden=(512, 512)), small.spec)
    net = dj.nets.convnet(10, width=32)
    conv = dj.tasks.classification(net, large.spec)
    dm = dj.methods.dm(conv, num_per_class=10, batch_size=32)
    frepo = lambda task: dj.methods.frepo(
        task, num_per_class=10, num_steps=100, batch_size=512, ridge=1e-3
    )
    return {
        "train ConvNet W32, 64 of 28x28x1, steps/s": training(large, conv),
        "DM ConvNet W32, 28x28x1, 10 per class, steps/s": outer_steps(dm, large, 3),
        "FRePo ConvNet W32, 28x28x1, 10 per class, steps/s": outer_steps(
            frepo(conv), large, 3
        ),
        "FRePo MLP 512-512, 8x8x1, 10 per class, steps/s": outer_steps(
            frepo(mlp), small, 50
        ),
        "evaluate ConvNet W32 on 10 pictures, networks/s": judging(large, conv),
    }


def measure(fn: Callable, args: tuple, units: int) -> dict[str, float]:
    """Units per second, median and extremes, and the seconds to compile."""
    start = time.perf_counter()
    compiled = compiling.ahead_of_time(fn, *args)
    compile_seconds = time.perf_counter() - start
    jax.block_until_ready(compiled(*args))
    rates = []
    for _ in range(NUM_REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(compiled(*args))
        rates.append(units / (time.perf_counter() - start))
    return {
        "median": statistics.median(rates),
        "min": min(rates),
        "max": max(rates),
        "compile_seconds": compile_seconds,
    }


def hardware() -> str:
    """The name by which results are comparable."""
    device = jax.devices()[0]
    return f"{device.platform} {device.device_kind}, {os.cpu_count()} cores"


def main() -> None:
    """Measures, compares, and records where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the results file")
    is_recorded = parser.parse_args().record
    former: dict[str, Any] = {}
    if RESULTS.exists():
        stored = json.loads(RESULTS.read_text())
        former = stored["rows"] if stored["hardware"] == hardware() else {}
    found = {}
    print(f"{hardware()}, jax {jax.__version__}")
    for name, (fn, args, units) in rows().items():
        found[name] = measure(fn, args, units)
        row = found[name]
        before = former.get(name, {}).get("median")
        ratio = f", {row['median'] / before:.2f} of the record" if before else ""
        print(
            f"{name}: {row['median']:.3g} ({row['min']:.3g} to {row['max']:.3g}), "
            f"compile {row['compile_seconds']:.1f} s{ratio}",
            flush=True,
        )
    if is_recorded:
        content = {
            "command": "python benchmarks/quick.py --record",
            "hardware": hardware(),
            "jax": jax.__version__,
            "python": platform.python_version(),
            "rows": found,
        }
        RESULTS.parent.mkdir(parents=True, exist_ok=True)
        RESULTS.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
