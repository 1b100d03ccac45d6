# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels that are learned while images stay, and whether they look like an expert's.

Learned through training (BPTT) as numbers that stay at 0 or above and as logits, by
trajectories of experts (MTT), both from hard labels, and by a ridge head from uniform
ones. A label that was learned is used as it is, made whole, and with all but its
largest entry shuffled.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import distill_jax as dj
from distill_jax import labels
from distill_jax.labels import transforms
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows, Tables

__all__ = ["EXPERIMENT"]

_NUM_UNITS = 3
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
    "ridge": "learned by a ridge head",
}
_NUM_STEPS = {"bptt": 100, "logits": 100, "mtt": 100, "ridge": 500}


def _run(bench: bench_lib.Bench, key, unit: int, size: int) -> Rows:
    """Trains students on the labels that were learned for the unit's images."""
    index = bench.images(unit, size)
    key_shuffle, key_students = jax.random.split(key)
    said = bench.logits(index, bench.team(unit), [bench.chosen[size]])[:, 0]
    own, together = transforms.from_logits(said[0]), labels.ensemble_logits(said)
    tables: Tables = {
        ("hard", 0.0): bench.hard(index),
        ("one expert", 0.0): own,
        ("experts together", 0.0): together,
    }
    for name in _NAMES:
        learned = jnp.asarray(_learned(bench, name, size)[unit])
        tables[name, 0.0] = learned
        tables[f"{name}, whole", 0.0] = transforms.normalize(learned)
        shuffled = labels.shuffle_non_top(key_shuffle, learned)
        tables[f"{name}, shuffled", 0.0] = shuffled
    grid = bench.train(key_students, size, index, list(tables.values()))
    classes = jnp.asarray(bench.dataset.train.y[index])
    alike = {name: _alike(table, own, together, classes)
             for (name, _), table in tables.items()}  # fmt: skip
    return [row | alike[row["labels"]] for row in bench_lib.rows_of(tables, grid)]


def _alike(table, own, together, classes) -> dict[str, float]:
    """How alike labels are to those of one expert, and of several."""
    found = labels.compare(table, together, classes)
    return {
        "like_one": float(labels.compare(table, own, classes).pearson),
        "like_all": float(found.pearson),
        "ranks_like_all": float(found.spearman),
        "classes_like_all": float(found.confusion_correlation),
        "divergence": float(found.divergence),
        "names_class": float(found.agreement_with_classes),
        "names_as_all": float(found.agreement_with_reference),
        "mass": float(found.mass),
    }


@functools.lru_cache(maxsize=8)
def _learned(bench: bench_lib.Bench, name: str, size: int) -> np.ndarray:
    """[R, N, C] of all units, by one program."""
    num_units = min(bench.num_units, _NUM_UNITS)
    make = _recipe_fn(bench, name, size)
    return dj.methods.learn_draws(
        jax.random.key(bench.plan.seed + 1),
        [make(bench.images(unit, size)) for unit in range(num_units)],
        bench.dataset,
        num_steps=_NUM_STEPS[name],
    ).y


def _recipe_fn(
    bench: bench_lib.Bench, name: str, size: int
) -> Callable[[np.ndarray], dj.Recipe]:
    """The function from positions of images to what learns their labels."""
    task, methods = bench.task, dj.methods
    if name == "ridge":
        options = {"batch_size": 500, "num_networks": 1}
        make = functools.partial(methods.label_ridge, task, **options)
    elif name == "mtt":
        fields = ("learning_rate", "batch_size", "augmentation")
        plan = dj.experts.ExpertPlan(
            num_experts=2,
            num_epochs=8,
            seed=bench.plan.seed,
            **{field: getattr(bench.plan, field) for field in fields},
        )
        make = functools.partial(methods.label_mtt, task, **_MTT, experts=plan)
    else:
        kind = {"label_kind": "logits", "learning_rate": 0.1}
        options = _BPTT | (kind if name == "logits" else {})
        make = functools.partial(methods.label_bptt, task, **options)
    return lambda index: make(num_per_class=size, index=index.tolist())


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    of = lambda name: units.of(rows, labels=name)
    claims = []
    for name in ("bptt", "mtt", "ridge"):
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
        "The images stay. Steps: "
        + ", ".join(
            f"{count} where {_NAMES[name]}" for name, count in _NUM_STEPS.items()
        )
        + ". Correlations are of entries of other classes than the image's.",
        claims=claims,
        tables=[_accuracies(rows), _likeness(rows)],
    )


def _words(name: str) -> str:
    kind, _, how = name.partition(", ")
    return ", ".join(filter(None, [_NAMES.get(kind, kind), how]))


def _accuracies(rows: Rows) -> dj.report.Table:
    return units.table_by_size(
        [{**row, "labels": _words(row["labels"])} for row in rows],
        "Test accuracy in % by labels",
    )


def _likeness(rows: Rows) -> dj.report.Table:
    """What labels look like."""
    columns = {
        "like_one": "correlation with one expert",
        "like_all": "with several together",
        "ranks_like_all": "of ranks",
        "classes_like_all": "of class means",
        "divergence": "KL from them, nats",
        "names_class": "largest entry is the class",
        "names_as_all": "is that of several",
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


EXPERIMENT = bench_lib.Experiment(_run, _section, num_units=_NUM_UNITS)
