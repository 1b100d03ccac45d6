# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The swap test: the i-th largest entry of every label and its smallest change places.

What is told is R(i), the accuracy with the exchange over that without. The mass and
the entropy of every label stay as they are.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

import distill_jax as dj
from distill_jax import labels
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows, Tables

__all__ = ["EXPERIMENT"]

_RANKS = (1, 2, 3, 5, 10, 20, 50)


def _tables(bench, key, unit, size, index) -> Tables:
    del key
    soft = bench.soft(unit, index, bench.chosen[size])
    last = soft.shape[1] - 1  # Exchanged with the one after it, the smallest.
    ranks = [i for i in _RANKS if i < last] + [last, last + 1]
    return {("swap", float(i)): labels.swap_rank(soft, i) for i in ranks}


def _relative(rows: Rows, size: int, i: float) -> dict[Any, float]:
    """R(i) of each unit."""
    whole = max(row["amount"] for row in rows)  # The smallest with itself.
    base = units.of(rows, size=size, amount=whole)
    swapped = units.of(rows, size=size, amount=i)
    return {unit: swapped[unit] / base[unit] for unit in swapped if base.get(unit)}


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    sizes, ranks = units.sizes_of(rows), sorted({row["amount"] for row in rows})
    relative = {(size, i): _relative(rows, size, i) for size in sizes for i in ranks}
    claims = _claims_at_one(relative, sizes[0], ranks)
    if len(sizes) > 1:
        claims += _claims_on_sizes(relative, sizes[0], sizes[-1], ranks)
    own = [
        {"size": size, "rank": f"{i:g}", "seed": unit, "relative": value}
        for (size, i), values in relative.items()
        for unit, value in values.items()
    ]
    table = summaries.table_of(
        own,
        "relative",
        label="Accuracy with the i-th largest entry and the smallest exchanged, over "
        "that without",
        down="rank",
        across="size",
        num_decimals=2,
        names={size: f"{size} per class" for size in sizes},
    )
    return dj.report.Section(
        "Which entries matter: the swap test",
        "The mass and the entropy of every label stay as they are.",
        claims=claims,
        tables=[table],
    )


def _claims_at_one(relative, small: int, ranks: list[float]) -> list:
    curves = {
        unit: [relative[small, i].get(unit, np.nan) for i in ranks]
        for unit in relative[small, ranks[0]]
    }
    falls = {unit: -float(np.min(np.diff(curve))) for unit, curve in curves.items()}
    return [
        summaries.claim_of(
            f"With its largest entry exchanged a label loses more than half at {small} "
            "per class.",
            relative[small, ranks[0]],
            below=0.5,
            unit="of the accuracy is left",
            paper="about 0.5 at 1 per class (Figure 4)",
        ),
        summaries.claim_of(
            "The lower the rank of an entry, the less it matters, up to 0.02.",
            falls,
            below=0.02,
            unit="is the largest step the other way",
            paper="relative accuracy rises with the rank (Figure 4)",
        ),
        summaries.claim_of(
            f"Exchanging the last but one entry costs nothing at {small} per class.",
            relative[small, ranks[-2]],
            above=0.98,
            unit="of the accuracy is left",
            paper="close to 1 (Figure 4)",
        ),
    ]


def _claims_on_sizes(relative, small: int, large: int, ranks: list[float]) -> list:
    tail = next((i for i in (5.0, 3.0, 2.0) if i in ranks[:-1]), ranks[-1])
    return [
        summaries.claim_of(
            f"The largest entry matters more at {large} per class than at {small}.",
            units.minus(relative[small, ranks[0]], relative[large, ranks[0]]),
            above=0.0,
            paper="0.5 at 1 per class and 0.2 at more (Figure 4)",
        ),
        summaries.claim_of(
            f"Entry {tail:g} matters less at {large} per class than at {small}.",
            units.minus(relative[large, tail], relative[small, tail]),
            above=0.0,
            paper="few images need more of the tail (Figure 4)",
        ),
    ]


EXPERIMENT = bench_lib.Experiment(bench_lib.of_tables(_tables), _section, (1, 5))
