# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""What `distill-jax plan` foretells of the loop of every method, and what happens.

For every method of the configs of CIFAR-10 (the papers' settings, width 128) and of
`configs/fashion_mnist_bilevel.py` at width 128, in a process of its own: the memory
that the compiler tells of, the growth of the process while steps are taken, the steps
per second of the forecast and those of a run of ``--seconds``. Random snapshots stand
for experts. Results are written after each row to
``benchmarks/results/forecasts.json``, and what stands there is not done again.

Command: DISTILL_JAX_DATA=data python benchmarks/forecasts.py --count 10
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import time

RESULTS = pathlib.Path(__file__).parent / "results" / "forecasts.json"
CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
FILES = ("cifar10_matching", "cifar10_trajectory", "fashion_mnist_bilevel")
STATUS = pathlib.Path("/proc/self/status")


def held(word: str) -> int:
    """Bytes of this process: now (VmRSS), or at most (VmHWM)."""
    found = re.search(rf"{word}:\s+(\d+)", STATUS.read_text())
    assert found is not None
    return 1024 * int(found[1])


def one(file: str, method: str, count: int, seconds: float) -> dict:
    """A row of the table, in this process."""
    import accuracy
    import jax

    from distill_jax import runtime
    from distill_jax.cli import experiment, plan

    config = accuracy.module_of(CONFIGS / f"{file}.py").get_config(f"{method},{count}")
    config.network.width = 128
    config.num_devices = 1
    if file == "cifar10_trajectory":
        config.method.experts.num_experts = 2
    built = experiment.build(config)
    recipe = plan.runnable(built)
    key = jax.random.key(0)
    told = runtime.forecast(recipe, built.dataset, num_steps=config.num_steps, key=key)
    seed = recipe.initial_fn(key, built.dataset)
    state = jax.tree.map(
        lambda leaf: leaf.copy(), jax.jit(recipe.method.init)(key, seed)
    )
    source = recipe.source_fn(built.dataset)
    compiled = runtime.compile_steps(
        recipe.method, recipe.sampler, num_steps=10_000, arguments=(key, state, source)
    )
    leaves = jax.tree.leaves((state, source))
    arguments = sum(leaf.nbytes for leaf in leaves if hasattr(leaf, "nbytes"))
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # The most is what is now.
    before, num_steps, start = held("VmRSS"), 0, time.perf_counter()
    while num_steps == 0 or time.perf_counter() - start < seconds:
        state = jax.block_until_ready(compiled.run(key, state, source, 1))[0]
        num_steps += 1
    return {
        "foretold_bytes": told.peak_bytes - arguments,
        "held_bytes": held("VmHWM") - before,
        "argument_bytes": arguments,
        "foretold_per_second": told.steps_per_second,
        "per_second": num_steps / (time.perf_counter() - start),
        "num_steps": num_steps,
        "compile_seconds": round(told.compile_seconds, 1),
        "compile_again_seconds": round(compiled.seconds, 1),
    }


def main() -> None:
    """Measures what is missing and prints all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10, help="images per class")
    parser.add_argument("--seconds", type=float, default=15.0, help="of steps")
    parser.add_argument("--only", nargs=2, help="a file and a method, to stdout")
    args = parser.parse_args()
    if args.only:
        file, method = args.only
        print(json.dumps(one(file, method, args.count, args.seconds)))
        return
    import accuracy
    import turns

    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    about = {"hardware": turns.hardware(), "command": "python benchmarks/forecasts.py"}
    for file in FILES:
        for method in accuracy.module_of(CONFIGS / f"{file}.py").METHODS:
            name = f"{file}:{method},{args.count}"
            if name not in rows:
                words = ["--count", args.count, "--seconds", args.seconds]
                done = subprocess.run(
                    [sys.executable, __file__, "--only", file, method]
                    + [str(word) for word in words],
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                )
                rows[name] = json.loads(done.stdout.splitlines()[-1])
                RESULTS.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
            row = rows[name]
            print(
                f"{name}: {row['foretold_bytes'] / 2**20:.0f} MiB foretold, "
                f"{row['held_bytes'] / 2**20:.0f} held; "
                f"{row['foretold_per_second']:.3g} steps/s foretold, "
                f"{row['per_second']:.3g} taken",
                flush=True,
            )


if __name__ == "__main__":
    main()
