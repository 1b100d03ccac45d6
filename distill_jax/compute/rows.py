# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Rows of examples: taken, filled up and cut with all that belongs to each of them.

Whatever takes some of the examples goes through here, so that a field of
:class:`~distill_jax.base.Examples` reaches every place that reads examples.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax import base
from distill_jax.types import Array

__all__ = ["cut", "examples_of", "pad", "split", "take"]


def examples_of(batch: Any) -> base.Examples:
    """Returns the examples of a distilled set, or of a batch, with all their fields.

    Args:
      batch: a :class:`~distill_jax.base.Synthetic` or
        :class:`~distill_jax.base.Examples`; what belongs to no single row, such as a
        learning rate, is left behind.

    Example:
      >>> synthetic = base.Synthetic(x=1, y=2, learning_rate=3, target=4)
      >>> examples_of(synthetic)
      Examples(x=1, y=2, weight=None, index=None, target=4, group=None)
    """
    fields = (name for name in base.Examples._fields if name in batch._fields)
    return base.Examples(**{name: getattr(batch, name) for name in fields})


def take(examples: base.Examples, rows: Array, weight: Array | None = None):
    """Returns some of the rows, such as those of a mini-batch.

    Args:
      examples: M rows.
      rows: [B].
      weight: [B], times those of the examples where these have some.

    Returns:
      B rows of :class:`~distill_jax.base.Examples`.

    Example:
      >>> import jax.numpy as jnp
      >>> examples = base.Examples(jnp.arange(3.0), jnp.eye(3), index=jnp.arange(3))
      >>> taken = take(examples, jnp.array([2, 0]), jnp.ones(2))
      >>> taken.x.tolist(), taken.index.tolist(), taken.weight.tolist()
      ([2.0, 0.0], [2, 0], [1.0, 1.0])
    """
    taken = jax.tree.map(lambda leaf: leaf[rows], examples)
    if weight is None:
        return taken
    is_weighted = taken.weight is not None
    return taken._replace(weight=weight * taken.weight if is_weighted else weight)


def pad(examples: base.Examples, num_missing: int) -> base.Examples:
    """Fills up with the first rows again, of weight 0: examples that can be computed.

    Args:
      examples: M rows with weights, at least as many as are missing.
      num_missing: how many rows are added.

    Example:
      >>> import jax.numpy as jnp
      >>> examples = base.Examples(jnp.arange(2.0), jnp.ones(2), jnp.ones(2))
      >>> padded = pad(examples, 1)
      >>> padded.x.tolist(), padded.weight.tolist()
      ([0.0, 1.0, 0.0], [1.0, 1.0, 0.0])
    """
    if not num_missing:
        return examples
    again = lambda leaf: jnp.concatenate([leaf, leaf[:num_missing]])
    weight = jnp.pad(jnp.asarray(examples.weight), (0, num_missing))
    return jax.tree.map(again, examples)._replace(weight=weight)


def cut(examples: base.Examples, block_size: int) -> base.Examples:
    """Cuts rows into blocks, as even as can be; the last block is filled up.

    Args:
      examples: ``[B, ...]`` with weights.
      block_size: at most so many rows in a block.

    Returns:
      ``[blocks, B', ...]``.

    Example:
      >>> import jax.numpy as jnp
      >>> examples = base.Examples(jnp.arange(3.0), jnp.ones(3), jnp.ones(3))
      >>> cut(examples, 2).weight.tolist()
      [[1.0, 1.0], [1.0, 0.0]]
    """
    num_examples = examples.y.shape[0]
    num_blocks = math.ceil(num_examples / block_size)
    size = math.ceil(num_examples / num_blocks)
    return split(pad(examples, num_blocks * size - num_examples), num_blocks)


def split(examples: base.Examples, num_parts: int) -> base.Examples:
    """Gives the rows a leading axis of equal parts, such as the classes of a set.

    Args:
      examples: ``[M, ...]``, where M is a multiple of the number of parts.
      num_parts: C.

    Returns:
      ``[C, M / C, ...]``.

    Example:
      >>> import jax.numpy as jnp
      >>> split(base.Examples(jnp.ones((4, 3)), jnp.ones(4)), 2).x.shape
      (2, 2, 3)
    """
    part = lambda leaf: leaf.reshape(num_parts, -1, *leaf.shape[1:])
    return jax.tree.map(part, examples)
