# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Test accuracies of the methods of a config, over seeds, for docs/results.md.

For every method, number of images per class and seed: distils once, trains fresh
networks on the result and tests each once, at its end. Nothing is chosen here; choices
are made beforehand, on the validation split. Results are written after each run to
``benchmarks/results/NAME.json``, and what stands there is not done again; several
processes may share the work.

Command: DISTILL_JAX_DATA=data python benchmarks/accuracy.py \
           configs/digits_matching.py --methods dc,dsa --counts 1,10 --seeds 0,1,2
"""

import argparse
import importlib.util
import json
import pathlib
import time

import jax
import numpy as np

import distill_jax as dj
from distill_jax import evaluation
from distill_jax.cli import experiment

# Random real examples, trained on by the protocol of the method that stands behind.
RANDOM = {"random": "dc", "random-augmented": "dsa"}
RESULTS = pathlib.Path(__file__).parent / "results"


def module_of(path: pathlib.Path):
    """A config file, imported."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def methods_of(path: pathlib.Path) -> list[str]:
    """The methods of a config file, after the random rows that it can give."""
    methods = list(module_of(path).METHODS)
    return [name for name, base in RANDOM.items() if base in methods] + methods


def one(path: pathlib.Path, method: str, count: int, seed: int) -> dict:
    """Distils once and judges once; with a method of `RANDOM`, judges real examples."""
    config = module_of(path).get_config(f"{RANDOM.get(method, method)},{count}")
    built = experiment.build(config)
    key_run, key_judge = jax.random.split(jax.random.key(seed))
    if method in RANDOM:
        initial_fn = dj.methods.initial_fn("real", count)
        drawn = initial_fn(key_run, built.dataset)
        synthetic, history = dj.Synthetic(drawn.x, drawn.y), None
    else:
        state, history = dj.run(
            built.recipe, built.dataset, num_steps=config.num_steps, key=key_run
        )
        synthetic = built.recipe.method.read(state)
    result = evaluation.evaluate(
        built.task,
        synthetic,
        built.dataset,
        protocol=built.recipe.protocol,
        num_runs=config.evaluate.num_runs,
        key=key_judge,
    )
    row = {
        "accuracies": [round(float(a), 5) for a in result.accuracies],
        "evaluate_seconds": round(result.run_seconds, 1),
    }
    if history is None:
        return row
    return row | {
        "num_steps": config.num_steps,
        "distil_seconds": round(history.run_seconds, 1),
        "compile_seconds": round(history.compile_seconds, 1),
    }


def read(path: pathlib.Path) -> dict[str, dict]:
    """The runs done so far, by name."""
    return json.loads(path.read_text())["runs"] if path.exists() else {}


def summary(rows: list[dict]) -> str:
    """Mean over distillations, their standard deviation, and that of networks."""
    each = np.array([row["accuracies"] for row in rows]) * 100
    means, inner = each.mean(1), each.std(1, ddof=1).mean()
    spread = f"{means.std(ddof=1):.2f}" if len(means) > 1 else "-"
    return (
        f"{means.mean():.2f} (sd of {len(means)} distillations {spread}, of networks "
        f"{inner:.2f})"
    )


def main() -> None:
    """Runs what is missing and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--methods", help="by default all of the config")
    parser.add_argument("--counts", default="1,10", help="images per class")
    parser.add_argument("--seeds", default="0,1,2")
    args = parser.parse_args()
    methods = (args.methods or ",".join(methods_of(args.config))).split(",")
    path = RESULTS / f"{args.config.stem}.json"
    about = {
        "hardware": f"{jax.devices()[0].device_kind}, jax {jax.__version__}",
        "command": f"python benchmarks/accuracy.py {args.config}",
    }
    for count in args.counts.split(","):
        for method in methods:
            for seed in args.seeds.split(","):
                name = f"{method} {count} seed {seed}"
                if name in read(path):
                    continue
                start = time.perf_counter()
                row = one(args.config, method, int(count), int(seed))
                runs = read(path) | {name: row}  # Others may have written meanwhile.
                path.write_text(json.dumps({**about, "runs": runs}, indent=1))
                print(
                    f"{name}: {100 * np.mean(row['accuracies']):.2f}, "
                    f"{time.perf_counter() - start:.0f} s",
                    flush=True,
                )
            rows = [
                row
                for name, row in read(path).items()
                if name.startswith(f"{method} {count} seed")
            ]
            print(f"== {method}, {count} per class: {summary(rows)}", flush=True)


if __name__ == "__main__":
    main()
