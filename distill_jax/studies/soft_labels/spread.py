# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What varies more: the draw of images with its expert, or the student."""

from collections.abc import Mapping
from typing import Any

import numpy as np

import distill_jax as dj
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels.bench import Rows

__all__ = ["EXPERIMENT"]

_NUM_STUDENTS = 3


def _run(bench: bench_lib.Bench, key, unit: int, size: int) -> Rows:
    index = bench.images(unit, size)
    tables = {
        ("soft", 0.0): bench.soft(unit, index, bench.chosen[size]),
        ("hard", 0.0): bench.hard(index),
    }
    grid = bench.train(
        key, size, index, list(tables.values()), num_students=_NUM_STUDENTS
    )
    return bench_lib.rows_of(tables, grid)


def _deviations(rows: Rows) -> tuple[float, dict[Any, float]]:
    """Standard deviations in points: of units beyond students, of students in each."""
    by_unit: dict[Any, list[float]] = {}
    for row in rows:
        by_unit.setdefault(row["seed"], []).append(100 * row["accuracy"])
    within = {unit: float(np.std(each, ddof=1)) for unit, each in by_unit.items()}
    if len(by_unit) < 2:
        return float("nan"), within
    means = [np.mean(each) for each in by_unit.values()]
    inner = np.mean(np.square(list(within.values()))) / _NUM_STUDENTS
    return float(np.sqrt(max(np.var(means, ddof=1) - inner, 0.0))), within


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    claims, lines = [], []
    for name in ("soft", "hard"):
        between, within = _deviations([row for row in rows if row["labels"] == name])
        claims.append(
            summaries.claim_of(
                f"With {name} labels students of the same images vary less than draws "
                f"of images do (sd {between:.2f} points).",
                {unit: between - value for unit, value in within.items()},
                above=0.0,
                unit="points of sd",
                paper="tells the deviation of students alone",
            )
        )
        inner = np.sqrt(np.mean(np.square(list(within.values()))))
        lines.append((name, f"{between:.2f}", f"{inner:.2f}"))
    table = dj.report.Table(
        "Standard deviations of test accuracy in points",
        ["labels", "draws of images, each with its expert", "students of one draw"],
        lines,
    )
    return dj.report.Section(
        "What varies: images or students",
        f"{_NUM_STUDENTS} students of every draw. The deviation of draws is what is "
        "left when that of their students is taken off.",
        claims=claims,
        tables=[table],
    )


EXPERIMENT = bench_lib.Experiment(_run, _section)
