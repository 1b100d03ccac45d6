# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What the experiments of the study share: data, experts, students, and rows of them.

A unit is a draw of random real images with an expert of its own, so that units are
independent of each other. A cell is one experiment with one number of images in one
unit: it makes tables of labels for the same images, trains the same students on each,
and gives a row for each table. Students are judged on the validation split, and once,
at the end of their training, on the test split.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import distill_jax as dj
from distill_jax.labels import metrics, transforms
from distill_jax.types import Array, Key

__all__ = ["Bench", "Experiment", "Rows", "Tables", "of_tables", "rows_of"]

Rows = Sequence[Mapping[str, Any]]
Tables = dict[tuple[str, float], Array]  # (what the labels are, of how much) -> [N, C]


@dataclasses.dataclass(frozen=True, eq=False)
class Bench:
    """The data, the experts and the students of a study of labels."""

    dataset: dj.data.Dataset
    task: dj.Task
    plan: dj.experts.ExpertPlan  # of one expert for each unit
    protocols: Mapping[int, dj.evaluation.Protocol]  # of students, by images per class
    epochs: Sequence[int]  # at which experts are asked
    chosen: Mapping[int, int]  # the epoch for other experiments, by images per class
    num_units: int
    num_students: int = 1  # of each table

    @functools.cached_property
    def experts(self) -> dj.experts.Buffer:
        """All experts; trained by the first cell that asks for one."""
        plan = self.plan
        return dj.experts.make_buffer(plan, self.task, self.dataset, progress=False)

    @functools.cached_property
    def _draws(self) -> dict[int, np.ndarray]:
        key = jax.random.key(self.plan.seed)
        return {
            size: dj.selection.random_subsets(
                key, self.dataset, size, num_draws=self.num_units
            )
            for size in self.protocols
        }

    def images(self, unit: int, size: int) -> np.ndarray:
        """[N] positions in the training split, nested in the size."""
        return self._draws[size][unit]

    def logits(
        self, index: np.ndarray, experts: Sequence[int], epochs: Sequence[int]
    ) -> Array:
        """[E, K, N, C], what experts say of training examples."""
        return self.logits_of(self.dataset.train.x[index], experts, epochs)

    def logits_of(
        self, images: np.ndarray, experts: Sequence[int], epochs: Sequence[int]
    ) -> Array:
        """[E, K, N, C], what experts say of raw images."""
        return self.experts.logits(
            self.task,
            images,
            experts=experts,
            epochs=epochs,
            normalizer=self.dataset.spec.normalizer,
        )

    def some_epochs(self, usual: Sequence[int]) -> list[int]:
        """Those of the usual epochs at which experts are asked; all, if too few are."""
        known = [epoch for epoch in usual if epoch in self.epochs]
        return known if len(known) > 1 else list(self.epochs)

    def team(self, unit: int, most: int = 5) -> list[int]:
        """Experts that label together: the unit's own, and those that follow it."""
        count = self.plan.num_experts
        return [(unit + number) % count for number in range(min(most, count))]

    def soft(self, unit: int, index: np.ndarray, epoch: int) -> Array:
        """[N, C] labels of the unit's expert after an epoch."""
        return transforms.from_logits(self.logits(index, [unit], [epoch])[0, 0])

    def hard(self, index: np.ndarray) -> Array:
        """[N, C] one-hot."""
        num_classes = self.dataset.spec.num_classes
        return jax.nn.one_hot(self.dataset.train.y[index], num_classes)

    def train(
        self,
        key: Key,
        size: int,
        index: np.ndarray,
        tables: Sequence[Array],
        weights: Sequence[Array] | None = None,
        num_students: int | None = None,
    ) -> dj.evaluation.Grid:
        """Students of every table, on the same images with the same seeds."""
        weight = None if weights is None else jnp.stack(list(weights))
        labelled = dj.Examples(
            self.dataset.train.x[index], jnp.stack(list(tables)), weight
        )
        return dj.evaluation.evaluate_grid(
            key,
            self.task,
            labelled,
            self.dataset,
            self.protocols[size],
            num_seeds=num_students or self.num_students,
            splits=("validation", "test"),
            normalizer=self.dataset.spec.normalizer,
            side_by_side=dj.compute.devices.side_by_side(self.task),
        )


class Experiment(NamedTuple):
    """What is varied, at how many images per class, and what is said of it."""

    run: Callable[[Bench, Key, int, int], Rows]  # (bench, key, unit, size)
    section: Callable[[Rows, Mapping[str, Rows]], dj.report.Section]  # own rows, all
    sizes: Sequence[int] | None = (1,)  # None for all of the study
    num_units: int | None = None  # at most, of one that takes long


def of_tables(
    tables_of: Callable[[Bench, Key, int, int, np.ndarray], Tables],
) -> Callable[[Bench, Key, int, int], Rows]:
    """Makes the cell of an experiment that compares tables of labels.

    Args:
      tables_of: (bench, key, unit, size, index) -> tables for the images at the index.

    Returns:
      (bench, key, unit, size) -> a row for each table and student.
    """

    def run(bench: Bench, key: Key, unit: int, size: int) -> Rows:
        index = bench.images(unit, size)
        key_labels, key_students = jax.random.split(key)
        tables = tables_of(bench, key_labels, unit, size, index)
        grid = bench.train(key_students, size, index, list(tables.values()))
        return rows_of(tables, grid)

    return run


def rows_of(tables: Tables, grid: dj.evaluation.Grid) -> list[dict[str, Any]]:
    """Makes a row for each table and student.

    Args:
      tables: of labels.
      grid: of their students.

    Returns:
      Rows of plain numbers.
    """
    test, validation = grid.accuracies("test"), grid.accuracies("validation")
    return [
        {
            "labels": name,
            "amount": amount,
            "student": student,
            "accuracy": float(test[number, student]),
            "validation": float(validation[number, student]),
            "entropy": float(jnp.mean(metrics.entropy(transforms.normalize(table)))),
        }
        for number, ((name, amount), table) in enumerate(tables.items())
        for student in range(test.shape[1])
    ]
