# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
r"""Validation accuracy of methods against minutes of distilling, as a picture.

Every method of a config is run once, stopped some times, and each time two fresh
networks are trained on what there is and judged on the validation split; the minutes
are those of distilling alone, without compilation and without these judgements. Results
are written after each point to ``benchmarks/results/NAME_curves.json``; what stands
there is not done again. With ``--picture`` the curves of all methods there are drawn.

Command: DISTILL_JAX_DATA=data python benchmarks/curves.py \
           configs/fashion_mnist_bilevel.py --methods rcig,auto --count 1
"""

import argparse
import json
import os
import pathlib
import time

import accuracy
import jax

import distill_jax as dj
from distill_jax import evaluation
from distill_jax.cli import experiment

NUM_NETWORKS = 2


def curve(path: pathlib.Path, method: str, count: int, num_points: int, tell) -> None:
    """Distils once; ``tell`` gets each point."""
    config = accuracy.module_of(path).get_config(f"{method},{count}")
    built = experiment.build(config)
    recipe = built.recipe
    keys = jax.random.split(jax.random.key(0), 4)
    state = jax.jit(recipe.method.init)(
        keys[0], recipe.initial_fn(keys[1], built.dataset)
    )
    source = recipe.source_fn(built.dataset)
    run = dj.runtime.scan_steps(recipe.method, recipe.sampler, num_steps=1000)
    jax.block_until_ready(run(keys[2], state, source, 0))  # Compiles.
    minutes = 0.0
    for number in range(num_points + 1):
        if number:
            target = config.num_steps * number // num_points
            start = time.perf_counter()
            state, _ = run(keys[2], state, source, target - int(state.step))
            jax.block_until_ready(state)
            minutes += (time.perf_counter() - start) / 60
        result = evaluation.evaluate(
            built.task,
            recipe.method.read(state),
            built.dataset,
            protocol=recipe.protocol,
            num_runs=NUM_NETWORKS,
            key=keys[3],
            split="validation",
        )
        accuracies = [round(float(each), 4) for each in result.accuracies]
        tell(
            {
                "step": int(state.step),
                "minutes": round(minutes, 2),
                "accuracies": accuracies,
            }
        )


def draw(content: dict, path: pathlib.Path) -> None:
    """A panel for each number of images per class, with the start at minute zero."""
    import matplotlib.pyplot as plt

    panels: dict[str, dict] = {}
    for name, points in content["curves"].items():
        method, _, count = name.partition(", ")
        panels.setdefault(count, {})[method] = points
    methods = dict.fromkeys(method for panel in panels.values() for method in panel)
    colors = {method: f"C{i}" for i, method in enumerate(methods)}
    width = 4.4 * len(panels)
    figure, row = plt.subplots(
        1, len(panels), figsize=(width, 3.6), layout="constrained", squeeze=False
    )
    for axes, (count, curves) in zip(row[0], panels.items(), strict=True):
        for method, points in curves.items():
            means = [100 * sum(p["accuracies"]) / len(p["accuracies"]) for p in points]
            minutes = [p["minutes"] for p in points]
            axes.plot(
                minutes, means, marker="o", ms=3, label=method, color=colors[method]
            )
        axes.set(title=count, xlabel="minutes of distilling")
        axes.grid(alpha=0.3)
    row[0][0].set_ylabel("validation accuracy (%)")
    row[0][-1].legend(frameon=False)
    figure.savefig(path, dpi=150)


def main() -> None:
    """Runs what is missing, prints the points and perhaps draws them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=pathlib.Path)
    parser.add_argument("--methods", help="by default all of the config")
    parser.add_argument("--count", type=int, default=1, help="images per class")
    parser.add_argument("--points", type=int, default=4)
    parser.add_argument("--picture", type=pathlib.Path)
    args = parser.parse_args()
    path = accuracy.RESULTS / f"{args.config.stem}_curves.json"
    content = {
        "hardware": f"{jax.devices()[0].device_kind}, jax {jax.__version__}",
        "cores": len(os.sched_getaffinity(0)),
        "command": f"python benchmarks/curves.py {args.config}",
        "curves": {},
    }
    methods = (args.methods or ",".join(accuracy.methods_of(args.config))).split(",")
    for method in methods:
        name = f"{method}, {args.count} per class"
        if path.exists():
            content = json.loads(path.read_text())
        if name in content["curves"]:
            continue
        points: list[dict] = []

        def tell(point: dict, name=name, points=points) -> None:
            points.append(point)
            print(name, point, flush=True)
            # Another process may have written its curve meanwhile.
            now = json.loads(path.read_text()) if path.exists() else content
            now["curves"][name] = points
            path.write_text(json.dumps(now, indent=1) + "\n")

        curve(args.config, method, args.count, args.points, tell)
    if args.picture:
        draw(json.loads(path.read_text()), args.picture)


if __name__ == "__main__":
    main()
