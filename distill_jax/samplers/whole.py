# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches drawn uniformly from the whole data set, without replacement."""

import jax
import jax.numpy as jnp

from distill_jax import base, data, errors
from distill_jax.types import Array, Key

__all__ = ["gather", "uniform"]


def uniform(batch_size: int) -> base.Sampler:
    """Draws ``B`` distinct examples of the data set, all equally likely.

    Args:
      batch_size: ``B``. Where the data set, or what is selected of it, has fewer
        examples, all of it is drawn, and the remaining rows have weight 0.

    Returns:
      A sampler from :class:`~distill_jax.base.Source` to
      :class:`~distill_jax.base.Examples`: ``x [B, ...]`` normalised, ``y [B, C]`` class
      probabilities, ``weight [B]``, ``index [B]``.

    Raises:
      InputError: when ``batch_size`` is below 1.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> source = dj.data.to_source(dj.data.load("digits"))
      >>> batch = uniform(32)(jax.random.key(0), 0, source)
      >>> batch.x.shape, batch.y.shape, float(batch.weight.sum())
      ((32, 8, 8, 1), (32, 10), 32.0)
    """
    if batch_size < 1:
        raise errors.InputError(f"`batch_size` must be at least 1, got {batch_size}.")

    def sample(key: Key, step: Array, source: base.Source) -> base.Examples:
        del step  # Every step draws afresh.
        num_examples = jax.tree.leaves(source.x)[0].shape[0]
        num_drawn = min(batch_size, num_examples)
        keys = jax.random.uniform(key, (num_examples,))
        if source.selected is not None:
            keys = jnp.where(source.selected, keys, -1.0)
        value, index = jax.lax.top_k(keys, num_drawn)
        index = jnp.pad(index, (0, batch_size - num_drawn))
        weight = (jnp.arange(batch_size) < num_drawn).astype(jnp.float32)
        if source.selected is not None:  # What is not must not be seen, even unweighed.
            is_drawn = jnp.pad(value >= 0.0, (0, batch_size - num_drawn))
            index = jnp.where(is_drawn, index, index[0])
            weight = is_drawn.astype(jnp.float32)
        return gather(source, index, weight)

    return sample


def gather(source: base.Source, index: Array, weight: Array) -> base.Examples:
    """Reads examples at ``index`` (any shape), normalised, with class probabilities.

    Args:
      source: the data set.
      index: int32 of any shape ``S``, positions in the data set.
      weight: float32 of the same shape.

    Returns:
      :class:`~distill_jax.base.Examples` with leading axes ``S``.

    Example:
      >>> import jax.numpy as jnp
      >>> import distill_jax as dj
      >>> source = dj.data.to_source(dj.data.load("digits"))
      >>> gather(source, jnp.zeros((2, 3), int), jnp.ones((2, 3))).y.shape
      (2, 3, 10)
    """
    flat = index.reshape(-1)
    x = jax.tree.map(lambda leaf: leaf[flat], source.x)
    x = data.normalize(source.normalizer, x)
    x = jax.tree.map(lambda leaf: leaf.reshape(*index.shape, *leaf.shape[1:]), x)
    y = source.y[index]
    if jnp.issubdtype(y.dtype, jnp.integer):
        y = jax.nn.one_hot(y, source.table.shape[0])
    return base.Examples(x=x, y=y, weight=weight, index=index)
