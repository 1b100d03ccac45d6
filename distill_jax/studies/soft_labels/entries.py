# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Knowledge for data: only the k largest entries of every label are kept.

Rows are not made whole again, as in the paper, unless it says so; a label of one entry
is the class that the expert takes the image for, weighted by how sure it is.
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

_COUNTS = (1, 2, 4, 8, 16, 32, 64)
_ENOUGH = 0.97  # of the accuracy with all entries


def _tables(bench, key, unit, size, index) -> Tables:
    del key
    soft = bench.soft(unit, index, bench.chosen[size])
    num_classes = soft.shape[1]
    tables: Tables = {}
    for k in [k for k in _COUNTS if k < num_classes] + [num_classes]:
        tables["kept", float(k)] = labels.top_k(soft, k)
        if size == min(bench.protocols):
            tables["kept, whole", float(k)] = labels.top_k(soft, k, renormalize=True)
    return tables


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    sizes = units.sizes_of(rows)
    kept = [row for row in rows if row["labels"] == "kept"]
    counts = sorted({row["amount"] for row in kept})
    claims = [
        summaries.claim_of(
            f"All entries teach more than the largest one at {size} per class.",
            units.minus(
                units.of(kept, size=size, amount=counts[-1]),
                units.of(kept, size=size, amount=1.0),
            ),
            above=0.0,
            unit="points",
            paper="accuracy rises with the entries that are kept (Figure 5)",
        )
        for size in sizes
    ]
    if len(sizes) > 1:
        claims.append(_claim_on_need(kept, sizes, counts))
    claims += _claim_against_data(kept, sizes[0], counts, everything.get("epochs", ()))
    return dj.report.Section(
        "Knowledge for data: the entries that are kept",
        "Rows are not made whole again, unless it says so.",
        claims=claims,
        tables=[units.table_by_size(rows, "Test accuracy in % by entries kept")],
        figures=[_figure(kept)],
    )


def _claim_on_need(kept: Rows, sizes, counts) -> dj.report.Claim:
    """How many entries are enough, for few images and for more."""
    need: dict[int, dict[Any, float]] = {}
    for size in (sizes[0], sizes[-1]):
        by_count = {k: units.of(kept, size=size, amount=k) for k in counts}
        need[size] = {
            unit: next(k for k in counts if by_count[k].get(unit, 0) >= _ENOUGH * whole)
            for unit, whole in by_count[counts[-1]].items()
        }
    few, more = need[sizes[0]], need[sizes[-1]]
    return summaries.claim_of(
        f"Fewer entries are enough (97 % of the accuracy) at {sizes[-1]} per class "
        f"than at {sizes[0]}.",
        {unit: float(np.log2(few[unit] / more[unit])) for unit in few if unit in more},
        above=0.0,
        unit="halvings",
        paper="data can be traded for knowledge (Figure 5)",
    )


def _claim_against_data(kept: Rows, small, counts, epochs: Rows) -> list:
    """Entries against twice the images with hard labels."""
    twice = units.of(epochs, size=2 * small, labels="hard")
    k = max((k for k in counts if k <= 16), default=counts[-1])
    if not twice:
        return []
    return [
        summaries.claim_of(
            f"{k:g} entries at {small} per class teach more than hard labels of twice "
            "the images.",
            units.minus(units.of(kept, size=small, amount=k), twice),
            above=0.0,
            unit="points",
            paper="more knowledge needs fewer images (Figure 5)",
        )
    ]


def _figure(kept: Rows) -> dj.report.Figure:
    lines = summaries.lines_of(
        kept,
        "accuracy",
        by="size",
        x="amount",
        scale=100,
        names={size: f"{size} per class" for size in units.sizes_of(kept)},
        is_fraction=True,
    )
    chart = dj.report.charts.line_chart(
        lines, x_label="entries kept", y_label="accuracy %", is_log_x=True
    )
    return dj.report.Figure(
        "entries", chart, "Few images need more of every label.", "Accuracy by entries"
    )


EXPERIMENT = bench_lib.Experiment(bench_lib.of_tables(_tables), _section, (1, 2, 5))
