# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Where a distilled set starts: real examples, noise, or means of parts of a class."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, data, errors, samplers
from distill_jax.types import Array, Key

__all__ = ["Initialisation", "chosen_fn", "initial_fn"]

Initialisation = Literal["real", "noise", "class_mean"]


def initial_fn(
    kind: Initialisation,
    num_per_class: int,
    *,
    encode: Callable[[Array], Array] | None = None,
) -> Callable[[Key, data.Dataset], base.Examples]:
    """Makes the function that draws the initial examples of a distilled set.

    Args:
      kind: ``"real"``: distinct random training examples of each class;
        ``"noise"``: standard normal inputs; ``"class_mean"``: each class is dealt into
        ``num_per_class`` random parts, and each part is averaged; every class is first
        cut to the size of the smallest, at random, so that all parts are equally large.
      num_per_class: examples of each class; or all, where targets are values.
      encode: how values are written for the task, see
        :class:`~distill_jax.base.Task`.

    Returns:
      A function ``(key, data set) -> Examples`` of ``M = C num_per_class`` class-major
      rows, in the space the networks see, with one-hot labels and the class of each
      row as its ``group``. Values are those of the examples that were drawn, or means
      where these are; noise takes those of random examples.

    Raises:
      InputError: for an unknown kind, a count below 1, or (from the function) when a
        class has fewer examples than asked for.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> initial = initial_fn("real", 2)(jax.random.key(0), digits)
      >>> initial.x.shape, initial.y.argmax(-1)[:4].tolist()
      ((20, 8, 8, 1), [0, 0, 1, 1])
    """
    draws = {"real": _real, "noise": _noise, "class_mean": _class_mean}
    if kind not in draws:
        hint = errors.nearest(kind, draws)
        raise errors.InputError(f'There is no initialisation "{kind}". {hint}')
    if num_per_class < 1:
        raise errors.InputError(
            f"`num_per_class` must be at least 1, got {num_per_class}."
        )

    def draw(key: Key, dataset: data.Dataset) -> base.Examples:
        num_classes = dataset.spec.num_classes
        if kind != "noise" or not num_classes:
            other_way = 'or `initialisation="noise"`, which needs no real examples'
            other_way = other_way if num_classes else ""  # Values come from examples.
            data.check_num_per_class(dataset, num_per_class, other_way=other_way)
        x, y = draws[kind](key, dataset, num_per_class)
        group = np.arange(max(num_classes, 1), dtype=np.int32).repeat(num_per_class)
        if num_classes:
            y = jnp.asarray(np.eye(num_classes, dtype=jnp.result_type(float))[group])
        elif encode is not None:
            y = encode(y)
        return base.Examples(x=x, y=y, group=jnp.asarray(group))

    return draw


def chosen_fn(
    index: Sequence[int] | np.ndarray, num_per_class: int
) -> Callable[[Key, data.Dataset], base.Examples]:
    """Makes the function that takes certain training examples, whatever the key is.

    Args:
      index: M = C ``num_per_class`` positions in the training split, class-major, such
        as :func:`~distill_jax.selection.random_subsets` draws them.
      num_per_class: examples of each class.

    Returns:
      A function as :func:`initial_fn` makes it.

    Raises:
      InputError: from the function, for positions that are not in the split, another
        number of them, or another order.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> index = dj.selection.random_subsets(
      ...     jax.random.key(0), digits, 2, num_draws=1)[0]
      >>> chosen_fn(index, 2)(jax.random.key(1), digits).group[:4].tolist()
      [0, 0, 1, 1]
    """
    rows = np.asarray(index)

    def take(key: Key, dataset: data.Dataset) -> base.Examples:
        del key  # Nothing is drawn.
        num_classes = dataset.spec.num_classes
        group = np.arange(num_classes, dtype=np.int32).repeat(num_per_class)
        _check_index(rows, dataset, group)
        raw = jnp.asarray(dataset.train.x[rows])
        return base.Examples(
            x=data.normalize(dataset.spec.normalizer, raw),
            y=jnp.asarray(np.eye(num_classes, dtype=jnp.result_type(float))[group]),
            group=jnp.asarray(group),
        )

    return take


def _check_index(rows: np.ndarray, dataset: data.Dataset, group: np.ndarray) -> None:
    """Raises unless rows of the training split are of these classes."""
    total = len(dataset.train.y)
    if rows.shape != group.shape or not np.issubdtype(rows.dtype, np.integer):
        raise errors.InputError(
            f"`index` has the shape {rows.shape} and the type {rows.dtype}; pass "
            f"{len(group)} whole numbers, positions in the training split."
        )
    if rows.min() < 0 or rows.max() >= total:
        raise errors.InputError(
            f"`index` has positions from {rows.min()} to {rows.max()}, but the "
            f"training split has {total} examples, 0 to {total - 1}."
        )
    if not np.array_equal(dataset.train.y[rows], group):
        raise errors.InputError(
            f"The classes of the examples at `index` begin "
            f"{dataset.train.y[rows][:8].tolist()}, but they are to be class-major, "
            f"{len(group) // dataset.spec.num_classes} of each: sort `index` by class."
        )


def _real(key: Key, dataset: data.Dataset, num: int) -> tuple[Array, Array]:
    batch = _per_class(num, key, data.to_source(dataset))
    return batch.x.reshape(-1, *batch.x.shape[2:]), _flat(batch.y)


@functools.partial(jax.jit, static_argnums=0)
def _per_class(num: int, key: Key, source: base.Source) -> base.Examples:
    """One draw as one program: step by step it would be forty."""
    return samplers.per_class(num)(key, jnp.zeros(()), source)


def _noise(key: Key, dataset: data.Dataset, num: int) -> tuple[Array, Array | None]:
    num_classes, shape = dataset.spec.num_classes, dataset.spec.shape
    if num_classes:
        return jax.random.normal(key, (num * num_classes, *shape)), None
    key_x, key_y = jax.random.split(key)
    return jax.random.normal(key_x, (num, *shape)), _real(key_y, dataset, num)[1]


def _class_mean(key: Key, dataset: data.Dataset, num: int) -> tuple[Array, Array]:
    source = data.to_source(dataset)
    smallest = int(source.count.min())
    batch = _per_class(smallest - smallest % num, key, source)
    part = batch.x.shape[1] // num
    parts = batch.x.reshape(-1, part, *batch.x.shape[2:])
    return parts.mean(axis=1), _flat(batch.y).reshape(-1, part, batch.y.shape[-1]).mean(
        axis=1
    )


def _flat(y: Array) -> Array:
    """[G, B, ...] as [G B, ...]."""
    return y.reshape(-1, *y.shape[2:])
