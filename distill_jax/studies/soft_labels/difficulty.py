# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Which images: soft and hard labels on images of every tenth of difficulty.

Images are sorted by the cross-entropy of the unit's expert, from logits.
"""

from collections.abc import Mapping

import numpy as np

import distill_jax as dj
from distill_jax.labels import metrics
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows

__all__ = ["EXPERIMENT"]


def _run(bench: bench_lib.Bench, key, unit: int, size: int) -> Rows:
    everyone = np.arange(len(bench.dataset.train.y))
    said = bench.logits(everyone, [unit], [bench.chosen[size]])[0, 0]
    score = metrics.cross_entropy(bench.hard(everyone), said, reduction="none")
    rows = []
    for tenth in range(10):
        index = dj.selection.by_score(
            np.asarray(score),
            bench.dataset,
            size,
            band=(tenth / 10, (tenth + 1) / 10),
            seed=unit,
        )
        tables = {
            ("soft", float(tenth)): bench.soft(unit, index, bench.chosen[size]),
            ("hard", float(tenth)): bench.hard(index),
        }
        grid = bench.train(key, size, index, list(tables.values()))
        rows += bench_lib.rows_of(tables, grid)
    return rows


def _range(rows: Rows, name: str) -> dict:
    """Between the best and the worst tenth, points."""
    tenths = [units.of(rows, labels=name, amount=float(t)) for t in range(10)]
    shared = [unit for unit in tenths[0] if all(unit in each for each in tenths)]
    return {unit: float(np.ptp([each[unit] for each in tenths])) for unit in shared}


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    of = lambda name, tenth: units.of(rows, labels=name, amount=float(tenth))
    spread = {name: _range(rows, name) for name in ("soft", "hard")}
    paper = "which images hardly matters under soft labels"
    claims = [
        summaries.claim_of(
            "With hard labels the hardest images teach less than the easiest.",
            units.minus(of("hard", 0), of("hard", 9)),
            above=0.0,
            unit="points",
            paper=paper,
        ),
        summaries.claim_of(
            "Which images matters less with soft labels than with hard ones.",
            units.minus(spread["hard"], spread["soft"]),
            above=0.0,
            unit="points between the best and the worst tenth",
            paper=paper,
        ),
    ]
    table = summaries.table_of(
        [{**row, "tenth": f"{row['amount'] + 1:g}"} for row in rows],
        "accuracy",
        label="Test accuracy in % by tenth of difficulty, the easiest first",
        down="tenth",
        across="labels",
        scale=100,
        is_fraction=True,
    )
    return dj.report.Section(
        "Which images",
        "Images are sorted by the cross-entropy of the unit's expert.",
        claims=claims,
        tables=[table],
    )


EXPERIMENT = bench_lib.Experiment(_run, _section)
