# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""From the command to the first step: the first time, and the second.

For every named method the command ``distill-jax distill`` is started twice at one image
per class, each in a process of its own, and ended after its first step: first with an
empty cache of compiled programs, then with what that left. The evaluation before the
first step is turned off. Trajectories are those of the digits, whose experts are
trained in the first start; all else but KIP is a ConvNet of width 32 on 28x28. Results
are written after each row to ``benchmarks/results/starts.json``, and what stands there
is not done again.

Command: DISTILL_JAX_DATA=data python benchmarks/starts.py
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

import accuracy
import turns

RESULTS = pathlib.Path(__file__).parent / "results" / "starts.json"
CONFIGS = pathlib.Path(__file__).parents[1] / "configs"
FILES = ("fashion_mnist_matching", "fashion_mnist_bilevel", "digits_trajectory")
OTHERS = {"kip": "digits_kip", "frepo on the digits": "digits_frepo"}
WORDS = (
    "--quiet",
    "--config.log_every=1",
    "--config.evaluate.num_curve_points=0",
    "--config.num_per_class=1",
)
LIMIT = 900  # seconds


def start(config: str, folder: pathlib.Path, name: str) -> dict[str, float]:
    """Seconds to the first step, and those of compilation among them."""
    rows = folder / name / "metrics.jsonl"
    env = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    env.pop("JAX_COMPILATION_CACHE_DIR", None)
    began = time.perf_counter()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "distill_jax", "distill"),
            *(f"--config={config}", f"--workdir={folder / name}", *WORDS),
        ],
        cwd=folder,
        env=env,
    )
    try:
        while not (rows.exists() and '"loss"' in (text := rows.read_text())):
            seconds = time.perf_counter() - began
            if process.poll() is not None or seconds > LIMIT:
                raise RuntimeError(f"{config} ended or took {seconds:.0f} s.")
            time.sleep(0.02)
        seconds = time.perf_counter() - began
    finally:
        process.kill()
        process.wait()
    row = json.loads(text.splitlines()[0])
    return {"seconds": seconds, "compile_seconds": row["compile_seconds"]}


def main() -> None:
    """Measures what is missing and prints all rows."""
    configs = dict(OTHERS)
    for file in FILES:
        for method in accuracy.module_of(CONFIGS / f"{file}.py").METHODS:
            configs[method] = f"{file}:{method},1"
    about = {"hardware": turns.hardware(), "command": "python benchmarks/starts.py"}
    rows = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
    for name, config in configs.items():
        file, _, argument = config.partition(":")
        words = f"{CONFIGS / file}.py" + (f":{argument}" if argument else "")
        if name not in rows:
            with tempfile.TemporaryDirectory() as folder:
                starts = [
                    start(words, pathlib.Path(folder), number)
                    for number in ("first", "second")
                ]
            rows[name] = dict(zip(("first", "second"), starts, strict=True))
            rows[name] |= {"config": config, "load_average": os.getloadavg()[0]}
            RESULTS.write_text(json.dumps(about | {"rows": rows}, indent=1) + "\n")
        first, second = rows[name]["first"], rows[name]["second"]
        print(
            f"{name}: first step after {first['seconds']:.1f} s, of which "
            f"{first['compile_seconds']:.1f} compile; again {second['seconds']:.1f} s "
            f"({second['compile_seconds']:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
