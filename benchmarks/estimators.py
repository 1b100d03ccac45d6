# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Memory and time of a hypergradient, by what is done about the networks' training.

The outer step of every estimator: ten pictures of 28x28x1, one of each class, judged on
256 random ones by one ConvNet-3 trained on them for T steps of Adam (the kernel has one
step and a last layer in closed form). Memory is what the compiler says it allocates
beside arguments and results (``temp_size_in_bytes``); seconds are processor seconds of
one step, compiled ahead. Results are written after each row to
``benchmarks/results/estimators.json``, and what stands there is not done again.

Command: python benchmarks/estimators.py
"""

import argparse
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import memory
import numpy as np

import distill_jax as dj
from distill_jax import base

RESULTS = pathlib.Path(__file__).parent / "results" / "estimators.json"
SHAPE, NUM_CLASSES, NUM_REAL = (28, 28, 1), 10, 256
WINDOW = 10

ESTIMATORS: dict[str, dict[str, Any]] = {
    "full, none": {"remat": "none"},
    "full, step": {"remat": "step"},
    "full, sqrt": {"remat": "sqrt"},
    "last window": {"window": WINDOW},
    "random window": {"window": WINDOW, "windows": "random"},
}


def objective_of(name: str, task: base.Task, num_steps: int) -> base.Objective:
    """The objective behind a row."""
    if name == "implicit, cg":
        # A member is trained T steps in every turn; 20 products of a Hessian.
        return dj.objectives.implicit_bilevel(task, num_networks=1, num_steps=num_steps)
    if name == "kernel":
        return dj.objectives.kernel_regression(task, num_networks=1)
    return dj.objectives.unrolled_training(
        task, num_steps=num_steps, **ESTIMATORS[name]
    )


def outer_step(name: str, width: int, num_steps: int):
    """The gradient for the pictures with what follows it, and its arguments."""
    spec = dj.data.DataSpec("random", SHAPE, NUM_CLASSES, (*"0123456789",), None, "")
    task = dj.tasks.classification(dj.nets.convnet(NUM_CLASSES, width=width), spec)
    objective = objective_of(name, task, num_steps)
    few, real = examples(NUM_CLASSES), examples(NUM_REAL)

    def step(x, key, inner, real):
        def loss(x):
            return objective.loss(dj.Synthetic(x, few.y), key, inner, real)[0]

        value, grads = jax.value_and_grad(loss)(x)
        inner = objective.advance(key, inner, dj.Synthetic(x - grads, few.y), real)
        return value, grads, inner

    key = jax.random.key(0)
    inner = jax.jit(lambda key: objective.init(key, dj.Synthetic(few.x, few.y)))(key)
    return jax.jit(step), (few.x, key, inner, real)


def examples(count: int) -> dj.Examples:
    """Random pictures of all classes in turn."""
    rng = np.random.default_rng(count)
    x = rng.normal(size=(count, *SHAPE)).astype(np.float32)
    y = np.eye(NUM_CLASSES, dtype=np.float32)[np.arange(count) % NUM_CLASSES]
    return dj.Examples(jnp.asarray(x), jnp.asarray(y))


def main() -> None:
    """Measures what is missing and prints all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", default="32,128")
    parser.add_argument("--steps", default="10,50,200", help="T, of the training")
    parser.add_argument("--limit", type=float, default=4.0, help="GiB")
    args = parser.parse_args()
    device = jax.devices()[0].device_kind
    content = {
        "command": "python benchmarks/estimators.py",
        "hardware": f"{device}, jax {jax.__version__}",
        "rows": {},
    }
    if RESULTS.exists():
        content = json.loads(RESULTS.read_text())
    for width in map(int, args.widths.split(",")):
        for num_steps in map(int, args.steps.split(",")):
            for name in (*ESTIMATORS, "implicit, cg", "kernel"):
                row_name = f"{name}, {num_steps} steps, width {width}"
                if row_name not in content["rows"]:
                    content["rows"][row_name] = memory.measure(
                        *outer_step(name, width, num_steps),
                        limit=int(args.limit * 2**30),
                    )
                    RESULTS.write_text(json.dumps(content, indent=1) + "\n")
                row = content["rows"][row_name]
                print(
                    f"{row_name}: {row['temp_bytes'] / 2**20:.0f} MiB, "
                    f"{row.get('cpu_seconds', '-')} s",
                    flush=True,
                )


if __name__ == "__main__":
    main()
