# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Real and synthetic examples side by side, class by class, or as one group."""

from typing import Any

import jax

from distill_jax import base, errors
from distill_jax.compute import randomness, rows
from distill_jax.types import Key

__all__ = ["by_class", "some"]


def by_class(
    task: base.Task, synthetic: base.Synthetic, batch: Any
) -> tuple[base.Examples, base.Examples]:
    """Both sides of a match with a leading axis of groups: the classes, or one of all.

    Args:
      task: says how many groups there are.
      synthetic: M class-major rows, as many for every class.
      batch: per class, ``[C, B, ...]``, or a :class:`~distill_jax.base.Pair` that
        matches such a one.

    Returns:
      The real examples ``[C, B, ...]`` and the synthetic ones ``[C, M / C, ...]``.

    Raises:
      InputError: while tracing, when the batch lacks a class, or the rows do not divide
        among the classes.

    Example:
      >>> import distill_jax as dj, jax.numpy as jnp
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec)
      >>> synthetic = base.Synthetic(jnp.ones((20, 64)), jnp.eye(10).repeat(2, 0))
      >>> real = base.Examples(jnp.ones((10, 5, 64)), jnp.ones((10, 5, 10)))
      >>> by_class(task, synthetic, real)[1].x.shape
      (10, 2, 64)
    """
    real = base.matched(batch)
    num_rows = synthetic.y.shape[0]
    num_classes = jax.eval_shape(task.groups, rows.examples_of(synthetic)).shape[-1]
    if real.y.ndim != 3 or real.y.shape[0] != num_classes:
        raise errors.InputError(
            f"Matching needs a batch of examples of each of the {num_classes} classes, "
            "with labels [classes, examples, classes], but the labels of this batch "
            f"have the shape {tuple(real.y.shape)}; use `samplers.per_class`."
        )
    if num_rows % num_classes:
        raise errors.InputError(
            f"The synthetic set has {num_rows} rows for {num_classes} classes; it "
            "needs the same number of rows for every class."
        )
    return real, rows.split(rows.examples_of(synthetic), num_classes)


def some(key: Key, by_class: base.Examples, num: int | None) -> base.Examples:
    """A random part of the examples of each class, or all where they are few enough.

    Args:
      key: draws the rows of each class; a part of it that nothing else uses.
      by_class: ``[C, M, ...]``.
      num: at most so many of each class; None for all.

    Returns:
      ``[C, min(M, num), ...]``.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> classes = base.Examples(jnp.ones((3, 5, 4)), jnp.ones((3, 5, 3)))
      >>> some(jax.random.key(0), classes, 2).x.shape
      (3, 2, 4)
    """
    num_classes, num_examples = by_class.y.shape[:2]
    if num is None or num_examples <= num:
        return by_class
    keys = jax.random.split(jax.random.fold_in(key, 1), num_classes)
    take = lambda key, examples: rows.take(
        examples, randomness.permutation(key, num_examples)[:num]
    )
    return jax.vmap(take)(keys, by_class)
