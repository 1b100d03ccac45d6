# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What an evaluation refuses: before anything is trained, and when all diverged."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from distill_jax import base, errors, tasks
from distill_jax import data as data_lib
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.evaluation import results
from distill_jax.storage import label_checks

__all__ = [
    "check_converged",
    "check_labels",
    "check_split",
    "check_synthetic",
    "classes_of",
    "has_classes",
]


def has_classes(data: data_lib.Dataset) -> bool:
    """Tells whether the examples of a data set have classes, and not targets.

    Args:
      data: a data set.

    Example:
      >>> has_classes(data_lib.load("digits"))
      True
    """
    y = np.asarray(data.train.y)
    return y.ndim == 1 and np.issubdtype(y.dtype, np.integer)


def check_split(
    data: data_lib.Dataset, split: str, task: base.Task | None = None
) -> None:
    """Raises unless networks can be judged on a split.

    Args:
      data: a data set.
      split: the name of one of its splits.
      task: says what networks are judged by; the accuracy where None.

    Raises:
      InputError: if there is no such split, or nothing in it to measure on.

    Example:
      >>> check_split(data_lib.load("digits"), "validation")
    """
    known = ("test", "validation", "train")
    if split not in known:
        raise errors.InputError(
            f'There is no split "{split}". {errors.nearest(str(split), known)}'
        )
    labels = getattr(data, split).y
    if len(labels) == 0:
        raise errors.InputError(
            f'The {split} split of "{data.spec.name}" is empty, so nothing can be '
            "tested on it; use another split or a larger `validation_fraction`."
        )
    if task is not None and tasks.metrics_of(task)[1][0].name != "accuracy":
        return
    if np.ndim(labels) != 1:
        raise errors.InputError(
            f'The examples of "{data.spec.name}" have targets of shape '
            f"{np.shape(labels)}, not classes, so there is no accuracy to measure."
        )


def check_synthetic(
    synthetic: Any, data: data_lib.Dataset, protocol: Any = None
) -> None:
    """Raises unless a distilled set fits its data set and its protocol.

    Args:
      synthetic: M rows, with labels [M, C].
      data: that networks trained on the set are tested on.
      protocol: what the labels are, and whether the learned learning rate is used;
        ``None`` where any finite labels will do.

    Raises:
      InputError: if the shape of an example or the number of classes differ, labels are
        not what the protocol says, or the learning rate is not positive.

    Example:
      >>> import distill_jax as dj
      >>> ones = dj.Synthetic(x=np.ones((10, 8, 8, 1)), y=np.eye(10))
      >>> protocol = dj.evaluation.Protocol(num_steps=1)
      >>> check_synthetic(ones, data_lib.load("digits"), protocol)
    """
    spec = data.spec
    if isinstance(synthetic.x, Mapping) or synthetic.y is None:
        raise errors.InputError(
            f"The distilled set has {_parts(synthetic)}, but networks that are tested "
            f'on "{spec.name}" are trained on one array of examples with labels.'
        )
    of_data, what = spec.num_classes, "classes"
    if not has_classes(data):
        of_data, what = np.shape(data.train.y)[-1], "targets"
    _check_rows(np.asarray(synthetic.y), of_data, what)
    shape, width = np.shape(synthetic.x)[1:], np.shape(synthetic.y)[-1]
    if shape != tuple(spec.shape) or width != of_data:
        raise errors.InputError(
            f"The distilled set has examples of shape {shape} with {width} "
            f'{what}, but "{spec.name}" has {tuple(spec.shape)} with '
            f"{of_data}; use the data set it was made from."
        )
    check_labels(synthetic, protocol)
    if protocol is not None and protocol.learning_rate is None:
        label_checks.check_rate(synthetic.learning_rate)


def _check_rows(y: np.ndarray, num: int, what: str) -> None:
    """Raises where labels are one number for each example, not one row."""
    is_column = y.ndim == 2 and y.shape[1] == 1 < num and y.dtype.kind in "ui"
    if y.ndim == 2 and not is_column:
        return
    rows = f"np.eye({num})[np.ravel(y)]" if what == "classes" else "y[:, None]"
    raise errors.InputError(
        f"The labels of the distilled set have the shape {y.shape}, one number for "
        f"each example; pass a row of {num} {what} for each, as `{rows}` makes it."
    )


def check_labels(examples: Any, protocol: Any) -> None:
    """Raises unless labels and targets are what a protocol says.

    Args:
      examples: :class:`~distill_jax.base.Synthetic` or
        :class:`~distill_jax.base.Examples`, M rows.
      protocol: what they are said to be; ``None`` where any finite numbers will do.

    Raises:
      InputError: if they are not.

    Example:
      >>> from distill_jax import base
      >>> check_labels(base.Examples(x=np.ones((2, 1)), y=np.eye(2)), None)
    """
    kind, mass = "values", "one"
    if protocol is not None:
        kind, mass = protocol.targets, protocol.label_mass
    for name in ("y", "target"):
        labels = getattr(examples, name)
        if labels is None:
            continue
        if np.shape(labels)[0] != np.shape(examples.y)[0]:
            raise errors.InputError(
                f"`{name}` has the shape {np.shape(labels)}, but there are "
                f"{np.shape(examples.y)[0]} examples; pass one row for each."
            )
        label_checks.check_labels(labels, kind, mass, name=f"`{name}`")


def classes_of(labels: Any) -> np.ndarray:
    """Tells the class of each row of a distilled set.

    That is the largest entry of its label, in a set of as many rows for every class.
    Labels that were learned may name another class than that of the pictures; the place
    of a row decides then, if most rows name the class of their place, or ten times as
    many as would by chance.

    Args:
      labels: [M, C] of classes.

    Returns:
      [M] classes.

    Raises:
      InputError: if the rows are no multiple of the classes, or neither labels nor
        places tell the class.

    Example:
      >>> classes_of([[0.2, 0.8], [0.6, 0.4]]).tolist()
      [1, 0]
    """
    labels = np.asarray(labels)
    num_rows, num_classes = labels.shape
    if num_rows % num_classes:
        raise errors.InputError(
            f"The distilled set has {num_rows} rows for {num_classes} classes, so the "
            "class of a row is not known; use one with the same number for every class."
        )
    named = labels.argmax(axis=1)
    placed = np.repeat(np.arange(num_classes), num_rows // num_classes)
    is_hard = np.array_equal(
        labels, np.where(np.eye(num_classes)[named], labels.max(), labels.min())
    )
    if is_hard or np.array_equal(np.sort(named), placed):
        return named
    if (named == placed).mean() > min(0.5, 10 / num_classes):
        return placed
    raise errors.InputError(
        f"The rows of the distilled set are not class-major: the labels of only "
        f"{int((named == placed).sum())} of {num_rows} rows name the class of their "
        "place, and they name some classes more often than others, so the class of a "
        "row is not known; sort the rows by class."
    )


def check_converged(
    result: results.Evaluation, protocol: protocol_lib.Protocol, examples: Any
) -> None:
    """Raises where all networks of an evaluation have diverged.

    Args:
      result: of the evaluation.
      protocol: by which they were trained.
      examples: on which, perhaps with a learned learning rate.

    Raises:
      DivergedError: where they have, with what to change.

    Example:
      >>> result = results.summarize(np.zeros((1, 1)), is_test=True, num_diverged=1)
      >>> check_converged(result, protocol_lib.Protocol(num_steps=3), None)
      Traceback (most recent call last):
      ...
      distill_jax.errors.DivergedError: All of the networks (1) diverged: their outputs\
 are not finite, or they fit their training examples far worse than outputs of zero.\
 Lower the learning rate of the protocol (0.01), or train for fewer steps.
    """
    num_runs = len(result.curve)
    if result.num_diverged < num_runs:
        return
    if not all(map(_is_finite, jax.tree.leaves(getattr(examples, "x", ())))):
        advice = "The distilled set itself holds values that are not finite; mend it"
    elif protocol.learning_rate is None:
        rate = float(np.mean(np.asarray(examples.learning_rate)))
        advice = (
            f"The learning rate that was learned with the set ({rate:.3g}) is too "
            "high for them; give the protocol a number as `learning_rate`"
        )
    else:
        rate = protocol.learning_rate
        advice = (
            f"Lower the learning rate of the protocol ({rate:.3g}), or train for fewer "
            "steps"
        )
    raise errors.DivergedError(
        f"All of the networks ({num_runs}) diverged: their outputs are not finite, or "
        f"they fit their training examples far worse than outputs of zero. {advice}."
    )


def _is_finite(leaf: Any) -> bool:
    return bool(np.isfinite(np.asarray(leaf)).all())


def _parts(synthetic: Any) -> str:
    """The arrays of a set that is no table of labelled examples."""
    if not isinstance(synthetic.x, Mapping):
        return "no labels"
    return "the arrays " + ", ".join(synthetic.x)
