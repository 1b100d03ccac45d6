# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several experts together: the mean of their logits, or of their probabilities."""

from collections.abc import Mapping

import distill_jax as dj
from distill_jax import labels
from distill_jax.labels import transforms
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows, Tables

__all__ = ["EXPERIMENT"]

_EPOCHS = (4, 6, 8, 12)


def _tables(bench, key, unit, size, index) -> Tables:
    del key, size
    epochs = bench.some_epochs(_EPOCHS)
    team = bench.team(unit)
    said = bench.logits(index, team, epochs)
    tables: Tables = {}
    for number, epoch in enumerate(epochs):
        for member, logits in zip(team, said[:, number], strict=True):
            tables[f"single {member}", float(epoch)] = transforms.from_logits(logits)
        for how in ("logit_mean", "prob_mean"):
            together = labels.ensemble_logits(said[:, number], how=how)
            tables[how, float(epoch)] = together
    return tables


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    is_single = lambda row: row["labels"].startswith("single")
    shown = [
        {**row, "labels": "one expert"} if is_single(row) else dict(row) for row in rows
    ]
    of = lambda name, epoch: units.of(shown, labels=name, amount=epoch)
    claims = [
        summaries.claim_of(
            f"Experts together label better than one, after {epoch:g} epochs.",
            units.minus(of("logit_mean", epoch), of("one expert", epoch)),
            above=0.0,
            unit="points",
            paper="ensembles improve labels (section 5)",
        )
        for epoch in sorted({row["amount"] for row in rows})
    ]
    return dj.report.Section(
        "Ensembles of experts",
        "Five experts, where there are as many. Teams of different units share "
        "experts, so that intervals are a little too narrow.",
        claims=claims,
        tables=[units.table_by_size(shown, "Test accuracy in % by epoch")],
    )


EXPERIMENT = bench_lib.Experiment(bench_lib.of_tables(_tables), _section)
