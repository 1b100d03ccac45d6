# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training, evaluations, scores, and outer steps of five methods, against PyTorch.

Both sides do the same work from the same start, and a case counts only if they agree:
losses to 1e-4, and what the pictures (or the networks) move to 1 %. They then take
turns; where PyTorch is written in several ways the fastest counts.

Names of cases: ``train`` and ``experts``, width, mini-batches of an epoch, their size;
``evaluate`` and ``frepo``, width, pictures of each class; ``dc`` and ``dm``, width,
real examples of each class, pictures of each class; ``mtt`` and ``bptt``, width, steps
of the student, pictures of each class; ``score``, width, real examples. With
``colour`` at the end pictures are of 32x32x3 rather than 28x28x1.

Command: make bench          (``--record`` writes benchmarks/results/versus_torch.json)
"""

import argparse
import functools
import json
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import torch
import turns
from torch_side import evaluation as torch_evaluation
from torch_side import kernel as torch_kernel
from torch_side import matching as torch_matching
from torch_side import network as torch_network
from torch_side import scoring as torch_scoring
from torch_side import training as torch_training
from torch_side import trajectories as torch_trajectories
from torch_side import unrolled as torch_unrolled

from distill_jax.compute import devices

MODULES = (
    torch_training,
    torch_evaluation,
    torch_matching,
    torch_kernel,
    torch_trajectories,
    torch_unrolled,
    torch_scoring,
)
RESULTS = pathlib.Path(__file__).parent / "results" / "versus_torch.json"


def main() -> None:
    """Measures the cases asked for, prints them, and records them where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the results file")
    parser.add_argument(
        "--cases", nargs="+", default=[""], help="how names begin, as in dc-32-256-10"
    )
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--budget", type=float, default=10.0, help="seconds per case")
    arguments = parser.parse_args()
    cases = list(chosen(tuple(arguments.cases)))
    if not cases:
        names = " ".join(name for name, _, _ in chosen(("",)))
        parser.error(f"No case begins with {arguments.cases}. There are {names}.")
    torch.set_num_threads(os.cpu_count() or 1)
    devices.split_cpu()  # As with `num_devices=0`.
    print(f"{turns.hardware()}, jax {jax.__version__}, torch {torch.__version__}")
    about = {
        "command": "python benchmarks/versus_torch.py --record",
        "hardware": turns.hardware(),
        "threads": os.cpu_count(),
        "jax": jax.__version__,
        "torch": torch.__version__,
    }
    matmul_gflops = turns.matmul_gflops()
    print(f"A large product runs at {matmul_gflops:.0f} GFLOP/s.")
    rows = {}
    for name, module, case in cases:
        torch.compiler.reset()  # It keeps few shapes of a function.
        load = os.getloadavg()[0]
        try:
            contest = module.prepare(case)
        except RuntimeError as error:  # Neither faster nor slower: another result.
            print(f"{name} does not count. {error}", flush=True)
            continue
        loop = functools.partial(contest.fns["loop"], 1)
        row = turns.take_turns(
            contest, num_pairs=arguments.pairs, budget=arguments.budget
        )
        rows[name] = row | {
            "gflop": torch_network.num_gflop(loop),  # of a unit
            "load_average": load,
        }
        show(name, rows[name])
        if arguments.record:
            record(about, name, rows[name], matmul_gflops)
    if rows:
        print(f"Geometric mean of {len(rows)} rows: {turns.geometric_mean(rows):.2f}")


def chosen(starts: tuple[str, ...]) -> Iterator[tuple[str, Any, tuple]]:
    """Name, module and case of those whose names begin so."""
    for module in MODULES:
        for case in module.CASES:
            name = "-".join(str(part) for part in case if part != "grey")
            if name.startswith(starts):
                yield name, module, case


def show(name: str, row: dict) -> None:
    """Prints a line."""
    loop, ratio = (
        row[f"torch_{form}_over_jax"] for form in ("loop", row["best_torch"])
    )
    print(
        f"{name}: {row['per_second']['jax']:.3g} {row['unit']} per second, "
        f"{loop['median']:.2f} times the loop, {ratio['median']:.2f} "
        f"({ratio['min']:.2f} to {ratio['max']:.2f}) times the best of torch; "
        f"compiled in {row['compile_seconds']:.1f} s",
        flush=True,
    )


def record(about: dict, name: str, row: dict, matmul_gflops: float) -> None:
    """Writes a row beside those of other cases on the same hardware."""
    rows = {}
    if RESULTS.exists():
        content = json.loads(RESULTS.read_text())
        if all(content.get(key) == value for key, value in about.items()):
            rows = content["rows"]
    rows[name] = row
    about = {**about, "matmul_gflops": matmul_gflops}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
