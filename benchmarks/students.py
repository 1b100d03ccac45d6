# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Grids of students against PyTorch doing the same work.

Both sides train the same students from the same start and count the right answers of
each class; a case counts only if they agree. They then take turns. Names of cases:
``students``, tables of labels, seeds, images, steps. The last row is ours alone: how
many labels a second several experts give after several epochs, in one program.

Command: python benchmarks/students.py --record
         (writes benchmarks/results/students.json)
"""

import argparse
import json
import os
import pathlib
import statistics
import time

import jax
import torch
import turns
from torch_side import students as torch_students

import distill_jax as dj
from distill_jax.compute import devices

RESULTS = pathlib.Path(__file__).parent / "results" / "students.json"


def main() -> None:
    """Measures the cases, prints them, and records them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the results file")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--cases", help="names between commas; by default all")
    arguments = parser.parse_args()
    torch.set_num_threads(os.cpu_count() or 1)
    devices.split_cpu()  # As with `num_devices=0`.
    about = {
        "command": "python benchmarks/students.py --record",
        "hardware": turns.hardware(),
        "threads": os.cpu_count(),
        "jax": jax.__version__,
        "torch": torch.__version__,
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    rows = {}
    for case in torch_students.CASES:
        name, load = "-".join(map(str, case)), os.getloadavg()[0]
        if arguments.cases and name not in arguments.cases.split(","):
            continue
        contest = torch_students.prepare(case)
        # Each turn is one grid, which takes seconds.
        row = turns.take_turns(contest, num_pairs=arguments.pairs, budget=0.0)
        rows[name] = row | {"load_average": load}
        fastest = max(("loop", "single"), key=lambda form: row["per_second"][form])
        loop, best = (row[f"torch_{f}_over_jax"] for f in (fastest, row["best_torch"]))
        print(
            f"{name}: {1 / row['per_second']['jax']:.2f} s for a grid, "
            f"{loop['median']:.2f} ({loop['min']:.2f} to {loop['max']:.2f}) times the "
            f"loop, {best['median']:.2f} ({best['min']:.2f} to {best['max']:.2f}) "
            f"times the best of torch, {row['best_torch']}; compiled in "
            f"{row['compile_seconds']:.1f} s",
            flush=True,
        )
    rows["labels-5-20-1000"] = row = labels_per_second(5, 20, 1000)
    print(f"{row['per_second']:.0f} labels a second; compiled with the first call")
    if arguments.record:
        known = json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else {}
        document = {**about, "rows": {**known, **rows}}
        RESULTS.write_text(json.dumps(document, indent=1) + "\n")


def labels_per_second(num_experts: int, num_epochs: int, num_images: int) -> dict:
    """Labels of the same images by every expert after every epoch."""
    data = dj.data.load(torch_students.DATA)
    net = dj.nets.mlp(data.spec.num_classes, hidden=(torch_students.HIDDEN,))
    task = dj.tasks.classification(net, data.spec)
    plan = dj.experts.ExpertPlan(num_experts=num_experts, num_epochs=num_epochs)
    buffer = dj.experts.make_buffer(plan, task, data, progress=False)

    def label() -> None:
        logits = buffer.logits(
            task,
            data.train.x[:num_images],
            epochs=range(1, num_epochs + 1),
            normalizer=data.spec.normalizer,
        )
        jax.block_until_ready(dj.labels.from_logits(logits))

    label()
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        label()
        seconds.append(time.perf_counter() - start)
    count = num_experts * num_epochs * num_images
    return {
        "unit": f"labels of {num_experts} experts, {num_epochs} epochs",
        "per_second": count / statistics.median(seconds),
        "seconds": seconds,
    }


if __name__ == "__main__":
    main()
