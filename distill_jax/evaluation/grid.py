# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Grids of students: the same images with many tables of labels, many seeds for each.

    right[l, s, c] = #{ n : y_n = c, argmax f(theta_ls, x_n) = c }
    theta_ls = train(seed s, images, labels l)

Studies of labels train hundreds of small networks that differ in their labels and
seeds alone. All of a grid are one program, and the images are there once. Every table
meets the same seeds: what differs between two tables are the labels.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors, tasks
from distill_jax import data as data_lib
from distill_jax.compute import parallel, programs
from distill_jax.evaluation import checks, runs, testing, training
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.evaluation import side_by_side as side_by_side_lib
from distill_jax.types import Key

__all__ = ["Grid", "evaluate_grid"]


@dataclasses.dataclass(frozen=True, eq=False)
class Grid:
    """What became of L tables of labels with S students each.

    Attributes:
      right: by split [L, S, C], how many examples of each class were named right. None
        is right by luck: what is not finite counts as wrong.
      counts: by split [C], how many examples of each class there are.
      has_diverged: [L, S] whether a student gave outputs that are not finite, or its
        training went wrong (:func:`~distill_jax.evaluation.training.has_diverged`); of
        the latter nothing is right.
      trained: the students [L * S, K, ...], row-major, where they were to be kept.
      compile_seconds: 0 where the program was compiled before.
      run_seconds: training and testing.
    """

    right: Mapping[str, np.ndarray]
    counts: Mapping[str, np.ndarray]
    has_diverged: np.ndarray
    trained: runs.Trained | None
    compile_seconds: float
    run_seconds: float

    def accuracies(self, split: str = "test") -> np.ndarray:
        """[L, S] fractions of a split that was asked for."""
        return self.right[split].sum(axis=-1) / self.counts[split].sum()

    def students(self, table: int) -> runs.Trained:
        """The S students of one table, as `measure` takes them."""
        if self.trained is None:
            raise errors.InputError(
                "The students of this grid were not kept; ask for `num_kept=1`."
            )
        num_seeds = self.has_diverged.shape[1]
        rows = slice(table * num_seeds, (table + 1) * num_seeds)
        taken = (self.trained.variables, self.trained.contexts)
        taken = jax.tree.map(
            lambda leaf: leaf[rows], (*taken, self.trained.has_diverged)
        )
        variables, contexts, has_diverged = taken
        return runs.Trained(variables, contexts, 0.0, 0.0, has_diverged)


def evaluate_grid(
    key: Key,
    task: base.Task,
    examples: Any,
    data: data_lib.Dataset,
    protocol: protocol_lib.Protocol,
    *,
    num_seeds: int,
    splits: Sequence[str] = ("test",),
    normalizer: Any = None,
    num_kept: int = 0,
    side_by_side: runs.SideBySide = "auto",
) -> Grid:
    """Trains and tests students of many tables of labels, in one compiled program.

    An entry ``[l, s]`` is what network ``s`` of
    :func:`~distill_jax.evaluation.train_networks` with the same key and the labels
    ``l`` is: bit by bit where networks are trained one after the other (``"map"``), and
    up to rounding where all are trained at once (``"vmap"``).

    Args:
      key: split into one for each seed.
      task: a classification task.
      examples: :class:`~distill_jax.base.Synthetic` or
        :class:`~distill_jax.base.Examples` with images ``x`` [M, ...] and, for each of
        L tables, labels ``y`` [L, M, C] and perhaps a ``weight`` [L, M]. Where every
        seed has images of its own these are [S, M, ...], [L, S, M, C], [L, S, M].
      data: the real data set.
      protocol: how to train.
      num_seeds: S.
      splits: on which of ``"test"``, ``"validation"`` and ``"train"`` to test.
      normalizer: for raw images.
      num_kept: K, how many moments of every training to keep as networks, evenly
        spaced; the parameters of L * S networks are many, so by default none is.
      side_by_side: as in :func:`~distill_jax.evaluation.evaluate`.

    Returns:
      A :class:`Grid`.

    Raises:
      InputError: if shapes or numbers do not fit, labels are not what the protocol
        says, a split is unknown or empty, or there are no classes.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> real = dj.methods.initial_fn("real", 1)(jax.random.key(0), data)
      >>> smooth = [0.9 * real.y + 0.01, 0.5 * real.y + 0.05]
      >>> grid = dj.evaluation.evaluate_grid(
      ...     jax.random.key(1), task,
      ...     dj.Examples(real.x, jnp.stack([real.y, *smooth])), data,
      ...     dj.evaluation.Protocol(num_steps=5), num_seeds=2)
      >>> grid.right["test"].shape, grid.accuracies().shape
      ((3, 2, 10), (3, 2))
    """
    errors.check_counts(num_seeds=num_seeds)
    errors.check_counts(least=0, num_kept=num_kept)
    _check_classes(task, data)
    for split in splits:
        checks.check_split(data, split)
    # Through the host: small, and it may lie on other devices than the program.
    examples = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)), examples)
    num_classes = data.spec.num_classes
    _check_tables(examples, num_seeds, num_classes)
    checks.check_labels(examples, protocol)
    kind, mesh = side_by_side_lib.resolve(side_by_side)
    held_out = {split: testing.hold_out(data, split) for split in splits}
    outcome = programs.call(
        _program,
        task,
        (protocol, num_classes, num_kept, kind),
        jax.random.split(key, num_seeds),
        examples,
        jax.tree.map(jnp.asarray, normalizer),
        held_out,
        mesh=mesh,
    )
    right, has_diverged, kept = outcome.value
    shape = (examples.y.shape[0], num_seeds)
    seconds = outcome.compile_seconds, outcome.run_seconds
    return Grid(
        right={
            split: np.asarray(each).reshape(*shape, num_classes)
            for split, each in right.items()
        },
        counts={
            split: np.bincount(getattr(data, split).y, minlength=num_classes)
            for split in splits
        },
        has_diverged=np.asarray(has_diverged).reshape(shape),
        trained=_trained(kept, *seconds) if num_kept else None,
        compile_seconds=seconds[0],
        run_seconds=seconds[1],
    )


def _trained(kept, compile_seconds, run_seconds):
    """The record of networks that a program gave back."""
    variables, contexts, has_diverged = kept
    return runs.Trained(variables, contexts, compile_seconds, run_seconds, has_diverged)


def _program(task, protocol, num_classes, num_kept, side_by_side):
    """(keys [S], examples, normalizer, held out) -> right [L S, C], diverged, kept."""

    def program(keys, examples, normalizer, held_out):
        num_tables, is_stacked = examples.y.shape[0], examples.y.ndim == 4
        if normalizer is not None:  # A small set: normalise it once.
            x = data_lib.normalize(normalizer, examples.x)
            examples = examples._replace(x=x)

        def train(entry):
            table, seed = entry
            own = _examples_of(examples, table, seed if is_stacked else None)
            what = (keys[seed], task, own, protocol)
            trained = training.train(*what, num_checkpoints=max(num_kept, 1))
            return *trained, training.has_diverged(*what, trained)

        def test(trained):
            variables, context, is_lost = trained
            end = jax.tree.map(lambda leaf: leaf[-1], variables)
            told = {
                split: _count_right(task, end, part, context, num_classes)
                for split, part in held_out.items()
            }
            right = {
                split: jnp.where(is_lost[-1], 0, each)
                for split, (each, _) in told.items()
            }
            has_diverged = jnp.stack([each for _, each in told.values()]).any()
            has_diverged |= is_lost[-1]
            return right, has_diverged, trained if num_kept else None

        def local(entries):
            if side_by_side == "map":
                return jax.lax.map(lambda entry: test(train(entry)), entries)
            # Tested one after the other: their activations together would not fit.
            return jax.lax.map(test, jax.vmap(train)(entries))

        tables, seeds = jnp.arange(num_tables), jnp.arange(len(keys))
        entries = jnp.repeat(tables, len(keys)), jnp.tile(seeds, num_tables)
        return parallel.spread(local, entries, "networks")

    return program


def _examples_of(examples, table, seed):
    """What one student learns from; the images of its seed, or those of all."""
    place = table if seed is None else (table, seed)
    take = lambda leaf: None if leaf is None else leaf[place]
    own = {
        name: take(getattr(examples, name))
        for name in ("y", "weight", "target")
        if name in examples._fields
    }
    if seed is not None:
        own["x"] = jax.tree.map(lambda leaf: leaf[seed], examples.x)
    return examples._replace(**own)


def _count_right(task, variables, held_out, context, num_classes):
    """[C] how many of each class are right, and whether an output is not finite."""
    logits = tasks.predict_held_out(task.predict, variables, held_out, context)
    is_right = tasks.is_right(logits, held_out.y).astype(jnp.int32)
    right = jax.ops.segment_sum(is_right, held_out.y, num_segments=num_classes)
    return right, ~jnp.isfinite(logits).all()


def _check_classes(task: base.Task, data: data_lib.Dataset) -> None:
    name = tasks.metrics_of(task)[1][0].name
    if name != "accuracy" or not checks.has_classes(data):
        raise errors.InputError(
            f'A grid counts right answers, but "{data.spec.name}" with a task that is '
            f'judged by "{name}" has none; use `evaluate` for each table of targets.'
        )


def _check_tables(examples: Any, num_seeds: int, num_classes: int) -> None:
    """Raises unless images, labels and weights fit each other."""
    y, num_images = examples.y, jax.tree.leaves(examples.x)[0].shape
    if y.ndim == 3:
        leading, rows = (), num_images[:1]
    else:
        leading, rows = (num_seeds,), num_images[1:2]
        if num_images[:1] != leading:
            y = None
    wanted = (*leading, *rows, num_classes)
    weight = getattr(examples, "weight", None)
    if y is None or y.ndim not in (3, 4) or y.shape[1:] != wanted:
        raise errors.InputError(
            f"The labels have the shape {examples.y.shape} for images of shape "
            f"{num_images}, {num_classes} classes and {num_seeds} seeds; pass labels "
            "[L, M, C] for images [M, ...], or [L, S, M, C] for images [S, M, ...]."
        )
    if weight is not None and weight.shape != y.shape[:-1]:
        raise errors.InputError(
            f"The weights have the shape {weight.shape}, but the labels {y.shape}; "
            "pass one weight for each label."
        )
