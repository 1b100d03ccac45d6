# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Grids of students against PyTorch doing the same work.

Both sides train the same students from the same start and count the right answers of
each class; a case counts only if they agree. They then take turns. Names of cases:
``students``, tables of labels, seeds, images, steps.

Command: python benchmarks/students.py --record
         (writes benchmarks/results/students.json)
"""

import argparse
import json
import os
import pathlib

import jax
import torch
import turns
from torch_side import students as torch_students

from distill_jax.compute import devices

RESULTS = pathlib.Path(__file__).parent / "results" / "students.json"


def main() -> None:
    """Measures the cases, prints them, and records them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the results file")
    parser.add_argument("--pairs", type=int, default=5)
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
    if arguments.record:
        RESULTS.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
