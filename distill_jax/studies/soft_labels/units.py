# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Numbers of units, which claims of the study rest on, and the tables of sections.

A claim compares numbers of the same unit (a draw of images with its expert), so it
rests on as many differences as there are units.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

import distill_jax as dj
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels.bench import Rows

__all__ = ["best_of", "minus", "of", "sizes_of", "table_by_size"]


def of(rows: Rows, **wanted: Any) -> dict[Any, float]:
    """The test accuracy in % of each unit, of rows with these values.

    Example:
      >>> of([{"seed": 3, "labels": "hard", "accuracy": 0.5}], labels="hard")
      {3: 50.0}
    """
    own = [row for row in rows if all(row[name] == v for name, v in wanted.items())]
    means = summaries.means_of_units(own, "accuracy")
    return {unit: 100 * mean for unit, mean in means.items()}


def minus(one: Mapping[Any, float], other: Mapping[Any, float]) -> dict[Any, float]:
    """Differences of the units that both have.

    Example:
      >>> minus({0: 5.0, 1: 6.0}, {1: 2.0})
      {1: 4.0}
    """
    return {unit: one[unit] - other[unit] for unit in one if unit in other}


def sizes_of(rows: Rows) -> list[int]:
    """Images per class, ascending.

    Example:
      >>> sizes_of([{"size": 2}, {"size": 1}, {"size": 2}])
      [1, 2]
    """
    return sorted({row["size"] for row in rows})


def best_of(rows: Rows, **wanted: Any) -> dict[Any, tuple[float, float]]:
    """For each unit the amount that validation chose, and its test accuracy in %.

    Example:
      >>> rows = [{"seed": 0, "amount": amount, "validation": v, "accuracy": a}
      ...         for amount, v, a in [(1, 0.5, 0.75), (2, 0.75, 0.5)]]
      >>> best_of(rows)
      {0: (2, 50.0)}
    """
    own = [row for row in rows if all(row[name] == v for name, v in wanted.items())]
    best = {}
    for unit in sorted({row["seed"] for row in own}):
        mine = [row for row in own if row["seed"] == unit]
        amounts = sorted({row["amount"] for row in mine})
        means = [
            np.mean([row["validation"] for row in mine if row["amount"] == amount])
            for amount in amounts
        ]
        amount = amounts[int(np.argmax(means))]
        best[unit] = (amount, of(mine, amount=amount)[unit])
    return best


def table_by_size(rows: Rows, label: str) -> dj.report.Table:
    """A table of accuracies: down what the labels are, across images per class."""
    words = lambda row: (
        f"{row['labels']} {row['amount']:g}" if row["amount"] else row["labels"]
    )
    sizes = {size: f"{size} per class" for size in sizes_of(rows)}
    return summaries.table_of(
        [{**row, "kind": words(row)} for row in rows],
        "accuracy",
        label=label,
        down="kind",
        across="size",
        scale=100,
        names={**sizes, "kind": "labels"},
        is_fraction=True,
    )
