# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Epochs: which examples each mini-batch of a training has.

Every epoch is a fresh permutation cut into mini-batches; the short last one is kept,
filled up with examples of weight 0. All permutations are drawn before the training, so
that a step is one gather.
"""

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base
from distill_jax.compute import randomness
from distill_jax.types import Array, Key

__all__ = ["mini_batches", "num_steps_per_epoch", "take_rows"]


def num_steps_per_epoch(num_examples: int, batch_size: int) -> int:
    """How many mini-batches an epoch has, the short last one included.

    Example:
      >>> num_steps_per_epoch(7, 4), num_steps_per_epoch(8, 4)
      (2, 2)
    """
    return -(-num_examples // batch_size)


def mini_batches(
    key: Key,
    *,
    num_examples: int,
    batch_size: int,
    num_steps: int,
    order: Array | None = None,
) -> tuple[Array, Array]:
    """The examples of every mini-batch of a training.

    Args:
      key: draws one permutation per epoch.
      num_examples: M.
      batch_size: B, at most M.
      num_steps: T.
      order: [epochs, M] permutations to use instead.

    Returns:
      index [T, B] int32, and weight [T, B]: 0 for the examples that fill up the short
      last batch of an epoch (the first ones of the same epoch again), else 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> index, weight = mini_batches(
      ...     jax.random.key(0), num_examples=3, batch_size=2, num_steps=2,
      ...     order=jnp.array([[2, 0, 1]]))
      >>> index.tolist(), weight.tolist()
      ([[2, 0], [1, 2]], [[1.0, 1.0], [1.0, 0.0]])
    """
    per_epoch = num_steps_per_epoch(num_examples, batch_size)
    num_epochs = -(-num_steps // per_epoch)
    if order is None:
        order = randomness.permutations(key, num_examples, num_epochs)
    num_missing = per_epoch * batch_size - num_examples
    order = jnp.concatenate([order, order[:, :num_missing]], axis=1)[:num_epochs]
    index = order.reshape(-1, batch_size)[:num_steps].astype(jnp.int32)
    is_real = np.arange(per_epoch * batch_size) < num_examples
    weight = np.tile(is_real.reshape(per_epoch, batch_size), (num_epochs, 1))
    return index, jnp.asarray(weight[:num_steps], dtype=float)


def take_rows(whole: base.Examples, rows: Array, weight: Array) -> base.Examples:
    """A mini-batch.

    Args:
      whole: M examples.
      rows: [B].
      weight: [B], times those of the examples where these have some.

    Example:
      >>> import jax.numpy as jnp
      >>> whole = base.Examples(jnp.arange(3.0), jnp.eye(3))
      >>> take_rows(whole, jnp.array([2, 0]), jnp.ones(2)).x.tolist()
      [2.0, 0.0]
    """
    weight = weight if whole.weight is None else weight * whole.weight[rows]
    x = jax.tree.map(lambda leaf: leaf[rows], whole.x)
    return base.Examples(x, whole.y[rows], weight)
