# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Soft against hard labels, after which epoch, and what a label is worth in images.

Every unit's best epoch is chosen on the validation split; its test accuracy is what is
compared.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

import distill_jax as dj
from distill_jax.evaluation import scaling
from distill_jax.labels import transforms
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows, Tables

__all__ = ["EXPERIMENT"]

_TABLE_2 = (
    "at 1 per class 21.1 % of CIFAR-10, 16.0 of CIFAR-100; at 10 per class 46.3 and "
    "34.3 (Table 2)"
)


def _tables(bench, key, unit, size, index) -> Tables:
    del key
    said = bench.logits(index, [unit], bench.epochs)[0]
    tables: Tables = {("hard", 0.0): bench.hard(index)}
    for epoch, logits in zip(bench.epochs, said, strict=True):
        tables["soft", float(epoch)] = transforms.from_logits(logits)
    return tables


def _run(bench, key, unit, size) -> Rows:
    """Rows of labels, each with the accuracy of the expert that gave them."""
    rows = bench_lib.of_tables(_tables)(bench, key, unit, size)
    accuracy = bench.experts.accuracy[unit]
    return [
        {
            **row,
            "expert_accuracy": (
                float(accuracy[int(row["amount"])]) if row["labels"] == "soft" else None
            ),
        }
        for row in rows
    ]


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    sizes = units.sizes_of(rows)
    best = {size: units.best_of(rows, size=size, labels="soft") for size in sizes}
    soft = {size: {u: b[1] for u, b in best[size].items()} for size in sizes}
    hard = {size: units.of(rows, size=size, labels="hard") for size in sizes}
    claims = [
        summaries.claim_of(
            f"Soft labels are better than hard ones at {size} per class.",
            units.minus(soft[size], hard[size]),
            above=0.0,
            unit="points",
            paper=_TABLE_2,
        )
        for size in sizes
    ]
    claims += _claims_at_few(rows, sizes[0], soft[sizes[0]])
    if len(sizes) > 1:
        claims += _claims_on_sizes(best, soft, hard, sizes)
    median = lambda size: np.median([epoch for epoch, _ in best[size].values()])
    return dj.report.Section(
        "Soft against hard labels, and which epoch",
        "Every unit's best epoch is chosen on the validation split. It was, in the "
        "median of units: "
        + ", ".join(f"{median(size):g} at {size} per class" for size in sizes)
        + "."
        + _law_words(soft, hard, sizes),
        claims=claims,
        tables=[_table(rows, sizes), _experts(rows, sizes[0])],
        figures=[_over_epochs(rows, sizes), _front(rows, sizes)],
    )


def _claims_at_few(rows: Rows, small: int, soft: Mapping[Any, float]) -> list:
    """A late expert is worse for few images; there is one best epoch in between."""
    epochs = sorted({row["amount"] for row in rows if row["labels"] == "soft"})
    curves = [units.of(rows, size=small, labels="soft", amount=e) for e in epochs]
    softer = _rises_of_entropy(rows, small)
    against = {
        unit: _against_one_peak([curve[unit] for curve in curves]) for unit in soft
    }
    return [
        summaries.claim_of(
            f"At {small} per class the expert of {epochs[-1]:g} epochs is worse than "
            "the best one.",
            units.minus(soft, curves[-1]),
            above=0.0,
            unit="points",
            paper="the optimum moves with the images (section 3)",
        ),
        summaries.claim_of(
            f"At {small} per class accuracy rises to one epoch and falls after it, up "
            "to 2 points.",
            against,
            below=2.0,
            unit="points the other way",
            paper="rises, then falls (Figure 2)",
        ),
        summaries.claim_of(
            "The later the epoch, the lower the entropy of labels.",
            softer,
            below=0.0,
            unit="nats is the largest step",
            paper="entropy falls as accuracy rises (Figure 2)",
        ),
    ]


def _rises_of_entropy(rows: Rows, size: int) -> dict[Any, float]:
    """The largest step of the entropy from one epoch to the next, of each unit."""
    own = [row for row in rows if row["size"] == size and row["labels"] == "soft"]
    curves: dict[Any, dict[float, float]] = {}
    for row in own:
        curves.setdefault(row["seed"], {})[row["amount"]] = row["entropy"]
    return {
        unit: float(np.max(np.diff([curve[epoch] for epoch in sorted(curve)])))
        for unit, curve in curves.items()
    }


def _against_one_peak(curve: list[float]) -> float:
    """The largest move against a rise to the highest point and a fall after it."""
    steps, top = np.diff(curve), int(np.argmax(curve))
    return float(max(0.0, *-steps[:top], *steps[top:]))


def _claims_on_sizes(best, soft, hard, sizes) -> list:
    """The best epoch moves with the images; what a label is worth."""
    small, large = sizes[0], sizes[-1]
    both = [unit for unit in best[small] if unit in best[large]]
    moved = {u: float(np.log2(best[large][u][0] / best[small][u][0])) for u in both}
    rate = {
        unit: scaling.iso_accuracy(sizes, [hard[s][unit] for s in sizes], value) / small
        for unit, value in soft[small].items()
        if all(unit in hard[size] for size in sizes)
    }
    reached = {unit: value for unit, value in rate.items() if np.isfinite(value)}
    note = "" if len(reached) == len(rate) else f", reached in {len(reached)} units"
    gain = {size: units.minus(soft[size], hard[size]) for size in sizes}
    return [
        summaries.claim_of(
            f"The best epoch is later at {large} per class than at {small}.",
            moved,
            above=0.0,
            unit="doublings",
            paper="epoch 20 at 1, 44 at 10 and 164 at 100 per class of CIFAR-10 "
            "(Table 7)",
        ),
        summaries.claim_of(
            f"Soft labels add more at {small} per class than at {large}.",
            units.minus(gain[small], gain[large]),
            above=0.0,
            unit="points",
            paper="hard labels catch up with more images (Figure 1)",
        ),
        summaries.claim_of(
            f"A soft label is worth more than one image at {small} per class{note}.",
            reached,
            above=1.0,
            unit="images with hard labels",
            paper="the title",
        ),
    ]


def _law_words(soft, hard, sizes) -> str:
    """The exponents of power laws of the error, where there are enough numbers."""
    if len(sizes) < 3:
        return ""
    words = []
    for name, curves in (("soft", soft), ("hard", hard)):
        shared = [u for u in curves[sizes[0]] if all(u in curves[s] for s in sizes)]
        grid = np.array([[curves[size][unit] for size in sizes] for unit in shared])
        law = scaling.fit_power_law(sizes, grid / 100)
        low, high = law.exponent_interval
        words.append(f"{law.exponent:.2f} ({low:.2f} to {high:.2f}) with {name} labels")
    return (
        " The error falls as a power of the images, with the exponent "
        + " and ".join(words)
        + "; the intervals are of draws that were drawn again."
    )


def _table(rows: Rows, sizes) -> dj.report.Table:
    return summaries.table_of(
        [{**row, "epoch": _words(row)} for row in rows],
        "accuracy",
        label="Test accuracy in % by images per class and epoch of the expert",
        down="epoch",
        across="size",
        scale=100,
        names={size: f"{size} per class" for size in sizes},
        is_fraction=True,
    )


def _experts(rows: Rows, small: int) -> dj.report.Table:
    """What the experts know, and how soft their labels are, after every epoch."""
    own = [row for row in rows if row["size"] == small and row["labels"] == "soft"]
    both = [
        {**row, "epoch": _words(row), "what": what, "value": value}
        for row in own
        for what, value in (
            ("accuracy on validation %", 100 * row["expert_accuracy"]),
            ("entropy of its labels, nats", row["entropy"]),
        )
    ]
    return summaries.table_of(
        both,
        "value",
        label="The experts: accuracy in %, and the entropy of their labels in nats",
        down="epoch",
        across="what",
        num_decimals=2,
    )


def _words(row: Mapping[str, Any]) -> str:
    return "hard labels" if row["labels"] == "hard" else f"epoch {row['amount']:g}"


def _over_epochs(rows: Rows, sizes) -> dj.report.Figure:
    lines = summaries.lines_of(
        [row for row in rows if row["labels"] == "soft"],
        "accuracy",
        by="size",
        x="amount",
        scale=100,
        names={size: f"{size} per class" for size in sizes},
        is_fraction=True,
    )
    chart = dj.report.charts.line_chart(
        lines, x_label="epoch of the expert", y_label="accuracy %", is_log_x=True
    )
    return dj.report.Figure(
        "epochs", chart, "Early experts suit few images.", "Accuracy over epochs"
    )


def _front(rows: Rows, sizes) -> dj.report.Figure:
    """Accuracy over images, a line for some epochs: their upper edge is the front."""
    amounts = sorted({row["amount"] for row in rows})  # 0 for hard labels
    shown = {
        amounts[i] for i in np.linspace(0, len(amounts) - 1, 6).round().astype(int)
    }
    lines = summaries.lines_of(
        [{**row, "epoch": _words(row)} for row in rows if row["amount"] in shown],
        "accuracy",
        by="epoch",
        x="size",
        scale=100,
        is_fraction=True,
    )
    chart = dj.report.charts.line_chart(
        lines, x_label="images per class", y_label="accuracy %", is_log_x=True
    )
    return dj.report.Figure(
        "front",
        chart,
        "The upper edge of the lines is the Pareto front of images and knowledge.",
        "Accuracy over images per class, a line for each of some epochs",
    )


EXPERIMENT = bench_lib.Experiment(_run, _section, None)
