# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Temperature against early stopping: two ways to a soft label."""

from collections.abc import Mapping

import numpy as np

import distill_jax as dj
from distill_jax.labels import transforms
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows, Tables

__all__ = ["EXPERIMENT"]

_EPOCHS = (4, 6, 12, 40)
_TEMPERATURES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def _tables(bench, key, unit, size, index) -> Tables:
    del key, size
    epochs = bench.some_epochs(_EPOCHS)
    said = bench.logits(index, [unit], epochs)[0]
    return {
        (f"epoch {epoch}", T): transforms.from_logits(logits, T)
        for epoch, logits in zip(epochs, said, strict=True)
        for T in _TEMPERATURES
    }


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    number = lambda name: int(name.split()[-1])
    epochs = sorted({row["labels"] for row in rows}, key=number)
    early, late = (units.best_of(rows, labels=epochs[end]) for end in (0, -1))
    at_one = [
        {**row, "amount": number(row["labels"])} for row in rows if row["amount"] == 1.0
    ]
    plain = units.best_of(at_one)  # the best epoch at T = 1, chosen on validation
    claims = [
        summaries.claim_of(
            "A later expert wants a higher temperature.",
            {unit: float(np.log2(late[unit][0] / early[unit][0])) for unit in late},
            above=0.0,
            unit="doublings",
            paper="T = 1 everywhere (Table 7 has no temperature)",
        ),
        summaries.claim_of(
            "A late expert at its best temperature labels better than the best of "
            "these epochs at T = 1.",
            {unit: late[unit][1] - plain[unit][1] for unit in late},
            above=0.0,
            unit="points",
            paper="stops early and has T = 1",
        ),
    ]
    table = summaries.table_of(
        [{**row, "temperature": f"{row['amount']:g}"} for row in rows],
        "accuracy",
        label="Test accuracy in % by temperature and epoch",
        down="temperature",
        across="labels",
        scale=100,
        is_fraction=True,
    )
    return dj.report.Section(
        "Temperature against early stopping",
        "Temperatures and epochs are chosen on the validation split.",
        claims=claims,
        tables=[table],
    )


EXPERIMENT = bench_lib.Experiment(bench_lib.of_tables(_tables), _section)
