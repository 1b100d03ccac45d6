# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The study that the tests kill: ``python cells_child.py FOLDER``."""

import functools
import pathlib
import sys
import time

import jax

from distill_jax import studies


def run(key, n):
    time.sleep(0.15)
    return [{"value": float(x)} for x in jax.random.normal(key, (n + 1,))]


CELLS = [
    studies.Cell(f"cell {n}", functools.partial(run, n=n), {"n": n}, seed=n)
    for n in range(6)
]

if __name__ == "__main__":
    studies.run_cells(CELLS, pathlib.Path(sys.argv[1]))
