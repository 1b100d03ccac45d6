# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""From a data set on the host to what samplers draw from on the device.

Arrays keep their own type there (a byte for a pixel) and are normalised inside jit. The
index table holds the examples of each class in a row, or all in one without classes.
What is missing to the largest class is padding, which ``count`` tells apart.
"""

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, deprecations, errors
from distill_jax.data import dataset

__all__ = ["class_table", "to_source"]


def to_source(
    data: dataset.Dataset,
    split: str = "train",
    index_table: tuple[np.ndarray, np.ndarray] | None = None,
) -> base.Source:
    """Puts one split of a data set on the device.

    Args:
      data: a loaded data set.
      split: "train", "validation" or "test".
      index_table: the former way of selecting examples: indices ``[C, K]`` and how
        many of each row are real ``[C]``; an example's ``index`` is then its position
        among those. Use :func:`~distill_jax.data.select` or
        :func:`~distill_jax.data.view`.

    Returns:
      A :class:`~distill_jax.base.Source`, an argument for jitted functions.

    Raises:
      InputError: when the split is unknown or empty, or a selection does not fit it.

    Example:
      >>> import distill_jax as dj
      >>> source = to_source(dj.data.load("digits"))
      >>> source.x.shape, source.x.dtype, source.table.shape, int(source.count.sum())
      ((960, 8, 8, 1), dtype('uint8'), (10, 110), 960)
    """
    if split not in dataset.SPLITS:
        raise errors.InputError(
            f'There is no split "{split}". {errors.nearest(str(split), dataset.SPLITS)}'
        )
    x, y = getattr(data, split)
    if len(y) == 0:
        raise errors.InputError(
            f'The {split} split of "{data.spec.name}" is empty; load the data set with '
            "a larger `validation_fraction`."
        )
    if index_table is not None:
        deprecations.warn("`index_table`", "`data.select`, or `data.view` of a source")
        rows = _selected(index_table, len(y), data.spec.num_classes)
        x, y = x[rows], y[rows]
    num_classes = data.spec.num_classes
    table, count = class_table(dataset.groups_of(y, num_classes), max(num_classes, 1))
    return base.Source(
        x=jnp.array(x),
        y=jnp.array(y),
        normalizer=jax.tree.map(jnp.array, data.spec.normalizer),
        table=jnp.array(table),
        count=jnp.array(count),
    )


def class_table(labels: np.ndarray, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists the examples of each class.

    Args:
      labels: classes ``[N]``.
      num_classes: ``C``.

    Returns:
      Indices ``[C, K]`` int32, ascending in each row, where ``K`` is the size of the
      largest class; and the size of each class ``[C]`` int32. Padding repeats the
      first index of the row, or 0 where the class is empty.

    Example:
      >>> table, count = class_table(np.array([1, 0, 1, 1]), 2)
      >>> table.tolist(), count.tolist()
      ([[1, 1, 1], [0, 2, 3]], [1, 3])
    """
    count = np.bincount(labels, minlength=num_classes).astype(np.int32)
    table = np.zeros((num_classes, max(int(count.max()), 1)), np.int32)
    for number in range(num_classes):
        rows = np.flatnonzero(labels == number)
        table[number, : rows.size] = rows
        table[number, rows.size :] = rows[0] if rows.size else 0
    return table, count


def _selected(
    index_table: tuple[np.ndarray, np.ndarray], num_examples: int, num_classes: int
) -> np.ndarray:
    """The indices of a selection, without the padding, class-major."""
    table, count = (np.asarray(part) for part in index_table)
    if table.ndim != 2 or count.shape != (num_classes,) or len(table) != num_classes:
        raise errors.InputError(
            f"The selection has indices of shape {table.shape} and counts of shape "
            f"{count.shape}; it must have ({num_classes}, K) and ({num_classes},) for "
            f"{num_classes} classes."
        )
    rows = table[np.arange(table.shape[1]) < count[:, None]]
    if rows.size == 0 or rows.min() < 0 or rows.max() >= num_examples:
        raise errors.InputError(
            "The selection is empty or names an example outside 0 .. "
            f"{num_examples - 1}; select from the split that is put on the device."
        )
    return rows
