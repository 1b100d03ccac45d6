# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Memory and time of an outer step of trajectory matching, by estimator and remat.

The student is a ConvNet-3 on 28x28x1 that takes N steps on B random pictures, no
augmentation. Memory is what the compiler says it allocates beside arguments and results
(``temp_size_in_bytes``). Seconds are processor seconds of one step, the first, compiled
ahead; not taken where that memory is above ``--limit`` or N above ``--timed``. Results
are written after each row to ``benchmarks/results/memory.json``, and what stands there
is not done again.

Command: python benchmarks/memory.py --width 128 --batch-size 100
"""

import argparse
import json
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import distill_jax as dj
from distill_jax import base
from distill_jax.compute import compiling

RESULTS = pathlib.Path(__file__).parent / "results" / "memory.json"
SHAPE, NUM_CLASSES = (28, 28, 1), 10


def outer_step(width: int, num_steps: int, estimator: str, remat: str):
    """The gradient for pictures and rate, and a task to draw networks from."""
    spec = dj.data.DataSpec("random", SHAPE, NUM_CLASSES, (*"0123456789",), None, "")
    task = dj.tasks.classification(dj.nets.convnet(NUM_CLASSES, width=width), spec)
    objective = dj.objectives.trajectory_matching(
        task, num_steps=num_steps, estimator=estimator, remat=remat
    )

    def loss(learned, key, labels, segment):
        few = dj.Synthetic(learned["x"], labels, learning_rate=learned["rate"])
        return objective.loss(few, key, {}, segment)[0]

    return task, jax.jit(jax.value_and_grad(loss))


def arguments_of(task: base.Task, batch_size: int):
    """Random pictures, and a segment from one random network to another."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(batch_size, *SHAPE)).astype(np.float32)
    y = np.eye(NUM_CLASSES, dtype=np.float32)[np.arange(batch_size) % NUM_CLASSES]
    start, target = (
        jax.tree.map(
            lambda leaf: leaf[None],
            task.init(jax.random.key(seed), task.sample_context(jax.random.key(0))),
        ).params
        for seed in (0, 1)
    )
    learned = {"x": jnp.asarray(x), "rate": jnp.float32(0.01)}
    return learned, jax.random.key(0), jnp.asarray(y), base.Segment(start, target)


def measure(step: Any, arguments: tuple, *, limit: int, is_timed: bool = True) -> dict:
    """One row of a table: bytes, and seconds unless the bytes are above the limit."""
    compiled = step.lower(*arguments).compile(compiling.options())
    analysis = compiled.memory_analysis()
    assert analysis is not None
    row = {"temp_bytes": analysis.temp_size_in_bytes}
    if analysis.temp_size_in_bytes > limit or not is_timed:
        return row
    start = time.process_time()
    jax.block_until_ready(compiled(*arguments))
    return row | {"cpu_seconds": round(time.process_time() - start, 2)}


def main() -> None:
    """Measures what is missing and prints all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--steps", default="4,16,64", help="N, of the student")
    parser.add_argument("--limit", type=float, default=8.0, help="GiB")
    parser.add_argument("--timed", type=int, default=16, help="largest N that is run")
    args = parser.parse_args()
    device = jax.devices()[0].device_kind
    content = {
        "command": "python benchmarks/memory.py",
        "hardware": f"{device}, jax {jax.__version__}",
        "rows": {},
    }
    if RESULTS.exists():
        content = json.loads(RESULTS.read_text())
    for num_steps in map(int, args.steps.split(",")):
        for estimator in ("tesla", "exact"):
            for remat in ("none", "step", "sqrt"):
                name = (
                    f"{estimator} {remat}, {num_steps} steps, {args.batch_size} "
                    f"pictures, width {args.width}"
                )
                if name not in content["rows"]:
                    task, step = outer_step(args.width, num_steps, estimator, remat)
                    content["rows"][name] = measure(
                        step,
                        arguments_of(task, args.batch_size),
                        limit=int(args.limit * 2**30),
                        is_timed=num_steps <= args.timed,
                    )
                    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
                row = content["rows"][name]
                print(
                    f"{name}: {row['temp_bytes'] / 2**20:.0f} MiB, "
                    f"{row.get('cpu_seconds', '-')} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
