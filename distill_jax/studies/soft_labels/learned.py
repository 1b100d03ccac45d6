# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels that are learned while images stay, and whether they look like an expert's.

Learned through training (BPTT) as numbers that stay at 0 or above and as logits, and by
trajectories of experts (MTT), always from hard labels. A label that was learned is used
as it is, made whole, and with all but its largest entry shuffled.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import distill_jax as dj
from distill_jax import labels
from distill_jax.labels import metrics, transforms
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows, Tables

__all__ = ["EXPERIMENT"]

_NUM_STEPS = 100
_BPTT: dict[str, Any] = {
    "num_inner_steps": 60,
    "window": 30,
    "batch_size": 500,
    "learning_rate": 5e-3,
    "network_optimizer": "sgd",
    "network_learning_rate": 0.05,
}
_MTT: dict[str, Any] = {
    "num_student_steps": 20,
    "num_expert_epochs": 2,
    "last_start": 6,
    "learning_rate": 5e-3,
    "rate_learning_rate": 1e-3,
    "initial_rate": 0.1,
    "augmentation": "none",
}
_NAMES = {
    "bptt": "learned through training",
    "logits": "learned through training, as logits",
    "mtt": "learned by trajectories",
}


def _run(bench: bench_lib.Bench, key, unit: int, size: int) -> Rows:
    """Learns the labels of the unit's images, and trains students on them."""
    index = bench.images(unit, size)
    key_learn, key_shuffle, key_students = jax.random.split(key, 3)
    own, together = _of_experts(bench, unit, size, index)
    tables: Tables = {
        ("hard", 0.0): bench.hard(index),
        ("one expert", 0.0): own,
        ("experts together", 0.0): together,
    }
    for name in _NAMES:
        learned = _learn(bench, key_learn, name, size, index)
        tables[name, 0.0] = learned
        tables[f"{name}, whole", 0.0] = transforms.normalize(learned)
        shuffled = labels.shuffle_non_top(key_shuffle, learned)
        tables[f"{name}, shuffled", 0.0] = shuffled
    grid = bench.train(key_students, size, index, list(tables.values()))
    classes = jnp.asarray(bench.dataset.train.y[index])
    alike = {
        name: {
            "like_one": float(metrics.structure_score(table, own, classes)),
            "like_all": float(metrics.structure_score(table, together, classes)),
            "names_class": float((table.argmax(axis=1) == classes).mean()),
            "mass": float(table.sum(axis=1).mean()),
        }
        for (name, _), table in tables.items()
    }
    return [row | alike[row["labels"]] for row in bench_lib.rows_of(tables, grid)]


def _of_experts(bench, unit: int, size: int, index: np.ndarray):
    """Labels of the unit's expert, and of several together."""
    said = bench.logits(index, bench.team(unit), [bench.chosen[size]])[:, 0]
    return transforms.from_logits(said[0]), labels.ensemble_logits(said)


def _learn(bench: bench_lib.Bench, key, name: str, size: int, index: np.ndarray):
    """[N, C]."""
    shared = {"num_per_class": size, "index": index.tolist()}
    if name == "mtt":
        plan = bench.plan.training()
        experts = dj.experts.ExpertPlan(
            num_experts=2, num_epochs=8, **_fields(plan), seed=bench.plan.seed
        )
        recipe = dj.methods.label_mtt(bench.task, **shared, **_MTT, experts=experts)
    else:
        kind = {"label_kind": "logits", "learning_rate": 0.1}
        options = _BPTT | (kind if name == "logits" else {})
        recipe = dj.methods.label_bptt(bench.task, **shared, **options)
    state, _ = dj.run(
        recipe,
        bench.dataset,
        num_steps=_NUM_STEPS,
        key=key,
        logging=dj.runtime.LoggingOptions(progress=False),
    )
    return recipe.method.read(state).y


def _fields(plan: dj.experts.Training) -> dict[str, Any]:
    """How an expert of the study is trained, but for how long."""
    return {
        name: getattr(plan, name)
        for name in ("learning_rate", "batch_size", "augmentation")
    }


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    of = lambda name: units.of(rows, labels=name)
    claims = []
    for name in ("bptt", "mtt"):
        mine = [row for row in rows if row["labels"] == name]
        like = lambda whom, mine=mine: summaries.means_of_units(mine, whom)
        words = f"Labels {_NAMES[name]}"
        claims += [
            summaries.claim_of(
                f"{words} are 15 points better than hard ones.",
                units.minus(of(name), of("hard")),
                above=15.0,
                unit="points",
                paper="labels can be learned without experts' (section 5)",
            ),
            summaries.claim_of(
                f"{words} lose 30 points when all but the largest entry is shuffled.",
                units.minus(of(name), of(f"{name}, shuffled")),
                above=30.0,
                unit="points",
                paper="not told in numbers",
            ),
            summaries.claim_of(
                f"{words} look like those of experts together (correlation above 0.5).",
                like("like_all"),
                above=0.5,
                paper="learned labels resemble experts' (section 5)",
            ),
            summaries.claim_of(
                f"{words} look more like those of experts together than like one's.",
                units.minus(like("like_all"), like("like_one")),
                above=0.0,
                unit="of correlation",
                paper="not told in numbers",
            ),
        ]
    return dj.report.Section(
        "Labels that are learned",
        f"{_NUM_STEPS} steps from hard labels; the images stay. The correlation is of "
        "entries of other classes than the image's.",
        claims=claims,
        tables=[_accuracies(rows), _alike(rows)],
    )


def _words(name: str) -> str:
    kind, _, how = name.partition(", ")
    return ", ".join(filter(None, [_NAMES.get(kind, kind), how]))


def _accuracies(rows: Rows) -> dj.report.Table:
    return units.table_by_size(
        [{**row, "labels": _words(row["labels"])} for row in rows],
        "Test accuracy in % by labels",
    )


def _alike(rows: Rows) -> dj.report.Table:
    """What labels look like."""
    columns = {
        "like_one": "correlation with one expert",
        "like_all": "with several together",
        "names_class": "largest entry is the class",
        "mass": "sum of a label",
        "entropy": "entropy, nats",
    }
    shown = [
        {"seed": row["seed"], "kind": _words(row["labels"]), "what": text,
         "value": row[name]}
        for row in rows
        if "shuffled" not in row["labels"] and "whole" not in row["labels"]
        for name, text in columns.items()
    ]  # fmt: skip
    return summaries.table_of(
        shown,
        "value",
        label="What the labels look like",
        down="kind",
        across="what",
        num_decimals=2,
        names={"kind": "labels"},
    )


EXPERIMENT = bench_lib.Experiment(_run, _section, num_units=3)
