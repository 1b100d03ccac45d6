# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Real and synthetic examples side by side, class by class."""

from typing import Any

from distill_jax import base, errors
from distill_jax.compute import rows

__all__ = ["by_class"]


def by_class(
    synthetic: base.Synthetic, batch: Any
) -> tuple[base.Examples, base.Examples]:
    """Both sides of a match with a leading axis of classes.

    Args:
      synthetic: M class-major rows, as many for every class.
      batch: per class, ``[C, B, ...]``, or a :class:`~distill_jax.base.Pair` that
        matches such a one.

    Returns:
      The real examples ``[C, B, ...]`` and the synthetic ones ``[C, M / C, ...]``.

    Raises:
      InputError: while tracing, when the batch lacks a class, or the rows do not divide
        among the classes.

    Example:
      >>> import jax.numpy as jnp
      >>> y = jnp.repeat(jnp.eye(2), 2, axis=0)
      >>> synthetic = base.Synthetic(jnp.ones((4, 3)), y)
      >>> real = base.Examples(jnp.ones((2, 5, 3)), jnp.ones((2, 5, 2)))
      >>> by_class(synthetic, real)[1].x.shape
      (2, 2, 3)
    """
    real = base.matched(batch)
    num_rows, num_classes = synthetic.y.shape
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
