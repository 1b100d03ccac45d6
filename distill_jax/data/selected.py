# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Selections of training examples, and the two forms in which they reach a method.

``select`` makes a smaller data set on the host: everything downstream sees it alone,
and its fingerprint is another, so that experts of other data are refused. ``view``
keeps the arrays on the device whole and restricts what samplers draw: all views of one
shape share one compilation, and an example's ``index`` is its position in the whole.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors
from distill_jax.data import dataset as datasets

__all__ = ["Selection", "make_selection", "select", "view"]


class Selection(NamedTuple):
    """Training examples of each class, C classes of at most K."""

    # [C, K] int32, positions in the training split; padded with the first of the row
    index: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]
    # [C] int32, how many of each row are selected
    count: np.ndarray  # pyright: ignore[reportIncompatibleMethodOverride]
    fingerprint: str  # of the data set that was selected from
    rows: np.ndarray  # [C, K] int32, where the examples stood in their file


def make_selection(data: datasets.Dataset, chosen: np.ndarray) -> Selection:
    """Makes a selection of positions in the training split.

    Args:
      data: the data set.
      chosen: [S] distinct positions, in any order; within a class their order is kept.

    Returns:
      A :class:`Selection`.

    Raises:
      InputError: when nothing is chosen, or a position is chosen twice or outside the
        split.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> selection = dj.data.make_selection(data, np.arange(100))
      >>> selection.index.shape, int(selection.count.sum())
      ((10, 14), 100)
    """
    chosen, num_classes = np.asarray(chosen), data.spec.num_classes
    classes = datasets.groups_of(data.train.y, num_classes)
    if not chosen.size or chosen.min() < 0 or chosen.max() >= len(classes):
        raise errors.InputError(
            "The selection is empty or names an example outside 0 .. "
            f"{len(classes) - 1}; select positions in the training split."
        )
    if len(np.unique(chosen)) < chosen.size:
        raise errors.InputError(
            f"The selection of {chosen.size} examples names some of them twice; each "
            "can be selected once."
        )
    labels = range(max(num_classes, 1))
    of_class = [chosen[classes[chosen] == label] for label in labels]
    count = np.array([len(part) for part in of_class], np.int32)
    index = np.zeros((len(labels), max(1, count.max())), np.int32)
    for row, part in zip(index, of_class, strict=True):
        row[:] = part[0] if len(part) else chosen[0]
        row[: len(part)] = part
    rows = data.rows["train"][index]
    return Selection(index, count, data.spec.fingerprint, rows)


def select(data: datasets.Dataset, selection: Selection) -> datasets.Dataset:
    """Makes the data set whose training split is a selection of another's.

    Args:
      data: what was selected from.
      selection: of its training split.

    Returns:
      A data set with another fingerprint. Its normaliser stays that of the whole, so
      that results are compared in one space; validation and test are unchanged, and
      ``rows`` still says where each example stood in its file.

    Raises:
      InputError: when the selection is of another data set, or leaves a class empty.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> some = dj.data.select(data, dj.data.make_selection(data, np.arange(100)))
      >>> len(some.train.y), some.spec.fingerprint == data.spec.fingerprint
      (100, False)
    """
    _check_origin(data.spec.fingerprint, selection)
    empty = np.flatnonzero(selection.count == 0)
    if empty.size:
        raise errors.InputError(
            f"The selection has no example of class {empty[0]}; a data set needs at "
            "least one of every class."
        )
    chosen = np.sort(_positions(selection))
    spec = dataclasses.replace(
        data.spec,
        fingerprint=datasets.fingerprint([chosen], data.spec.fingerprint),
    )
    return dataclasses.replace(
        data,
        train=datasets.Arrays(data.train.x[chosen], data.train.y[chosen]),
        spec=spec,
        rows={**data.rows, "train": data.rows["train"][chosen]},
    )


def view(source: base.Source, selection: Selection) -> base.Source:
    """Restricts what samplers draw from a data set on the device to a selection.

    Args:
      source: the training split of the data set that was selected from.
      selection: of it; all selections of one K share a compilation.

    Returns:
      The source with the same arrays and another ``table``, ``count`` and ``selected``.

    Raises:
      InputError: when the selection names an example that the source does not have.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> selection = dj.data.make_selection(data, np.arange(40))
      >>> source = dj.data.view(dj.data.to_source(data), selection)
      >>> batch = dj.samplers.uniform(64)(jax.random.key(0), 0, source)
      >>> int(batch.index.max()) < 40, float(batch.weight.sum())
      (True, 40.0)
    """
    num_examples = source.y.shape[0]
    chosen = _positions(selection)
    if chosen.max() >= num_examples:
        raise errors.InputError(
            f"The selection names example {chosen.max()}, but the source has only "
            f"{num_examples}; select from the split that it was made of."
        )
    is_selected = np.zeros(num_examples, bool)
    is_selected[chosen] = True
    return source._replace(
        table=jnp.asarray(selection.index),
        count=jnp.asarray(selection.count),
        selected=jnp.asarray(is_selected),
    )


def _positions(selection: Selection) -> np.ndarray:
    """[S], without the padding."""
    num_columns = selection.index.shape[1]
    return selection.index[np.arange(num_columns) < selection.count[:, None]]


def _check_origin(fingerprint: str, selection: Selection) -> None:
    if selection.fingerprint != fingerprint:
        raise errors.InputError(
            "The selection was made from another data set (fingerprint "
            f"{selection.fingerprint[:8]}, here {fingerprint[:8]}): positions would "
            "name other examples; load the data set as it was then, or select again."
        )
