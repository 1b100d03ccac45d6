# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A class without images: what other images' labels tell of it.

For some classes, one at a time, its images or the mass that the labels of other images
have on it are left out, or both. Students are judged on that class alone.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

import distill_jax as dj
from distill_jax.labels import transforms
from distill_jax.studies import summaries
from distill_jax.studies.soft_labels import bench as bench_lib
from distill_jax.studies.soft_labels import units
from distill_jax.studies.soft_labels.bench import Rows

__all__ = ["EXPERIMENT"]

_NUM_SUBJECTS = 10


def _run(bench: bench_lib.Bench, key, unit: int, size: int) -> Rows:
    index = bench.images(unit, size)
    soft, hard = bench.soft(unit, index, bench.chosen[size]), bench.hard(index)
    classes = jnp.asarray(bench.dataset.train.y[index])
    num_classes = soft.shape[1]
    places = np.linspace(0, num_classes - 1, min(_NUM_SUBJECTS, num_classes))
    subjects = places.round().astype(int)
    ones = jnp.ones(len(index))
    tables, weights, names = [soft, hard], [ones, ones], [("control", -1), ("hard", -1)]
    for c in subjects.tolist():
        gone = transforms.drop_class(classes, c)
        bare = transforms.remove_class_mass(soft, classes, c)
        whole = transforms.remove_class_mass(soft, classes, c, renormalize=True)
        tables += [soft, bare, whole, bare]
        weights += [gone, ones, ones, gone]
        kinds = ("no images", "no mass", "no mass, whole", "neither")
        names += [(what, c) for what in kinds]
    grid = bench.train(key, size, index, tables, weights)
    share = grid.right["test"] / grid.counts["test"]  # [L, S, C]
    rows = [
        {
            "labels": what,
            "subject": c,
            "accuracy": float(share[number][:, subjects if c < 0 else [c]].mean()),
        }
        for number, (what, c) in enumerate(names)
    ]
    own = _expert_accuracy(bench, unit, size, subjects)
    return [*rows, {"labels": "the expert itself", "subject": -1, "accuracy": own}]


def _expert_accuracy(
    bench: bench_lib.Bench, unit: int, size: int, subjects: np.ndarray
) -> float:
    """How often the unit's expert names test examples of these classes."""
    test = bench.dataset.test
    is_asked = np.isin(test.y, subjects)
    epoch = bench.chosen[size]
    said = bench.logits_of(test.x[is_asked], [unit], [epoch])[0, 0]
    return float(np.mean(np.asarray(said).argmax(axis=1) == test.y[is_asked]))


def _section(rows: Rows, everything: Mapping[str, Rows]) -> dj.report.Section:
    del everything
    of = lambda name: units.of(rows, labels=name)
    claims = [
        summaries.claim_of(
            "Students name a class of which they saw no image, by label mass alone.",
            units.minus(of("no images"), of("neither")),
            above=0.0,
            unit="points",
            paper="sizeable accuracy without an image of the class (Figure 7)",
        ),
        summaries.claim_of(
            "A class suffers more without the mass on it than without its images.",
            units.minus(of("no images"), of("no mass")),
            above=0.0,
            unit="points",
            paper="not told in numbers",
        ),
        summaries.claim_of(
            "With neither images nor mass nothing is left.",
            of("neither"),
            below=5.0,
            unit="% accuracy",
            paper="not told in numbers",
        ),
    ]
    table = summaries.table_of(
        [{**row, "what": "accuracy"} for row in rows],
        "accuracy",
        label="Test accuracy in % on the classes concerned",
        down="labels",
        across="what",
        scale=100,
        is_fraction=True,
    )
    return dj.report.Section(
        "A class without images",
        "For ten classes, one at a time, its images or the mass that other images' "
        "labels have on it are left out, or both. Judged on that class alone.",
        claims=claims,
        tables=[table],
    )


EXPERIMENT = bench_lib.Experiment(_run, _section)
