# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Batches with the same number of examples of every class."""

import jax
import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.samplers import whole
from distill_jax.types import Array, Key

__all__ = ["per_class"]


def per_class(batch_size: int) -> base.Sampler:
    """Draws ``B`` distinct examples of each class.

    Each row of the index table gets random keys, masked where the row is padding, and
    its ``B`` largest keys are the draw.

    Args:
      batch_size: ``B``, per class. A class with fewer examples is drawn whole, and its
        remaining rows have weight 0.

    Returns:
      A sampler from :class:`~distill_jax.base.Source` to
      :class:`~distill_jax.base.Examples` with leading axes ``[C, B]`` in every field.

    Raises:
      InputError: when ``batch_size`` is below 1.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> source = dj.data.to_source(dj.data.load("digits"))
      >>> batch = per_class(16)(jax.random.key(0), 0, source)
      >>> batch.x.shape, batch.y.argmax(-1)[3, :4].tolist()
      ((10, 16, 8, 8, 1), [3, 3, 3, 3])
    """
    if batch_size < 1:
        raise errors.InputError(f"`batch_size` must be at least 1, got {batch_size}.")

    def sample(key: Key, step: Array, source: base.Source) -> base.Examples:
        del step  # Every step draws afresh.
        num_columns = source.table.shape[1]
        num_drawn = min(batch_size, num_columns)
        is_real = jnp.arange(num_columns)[None, :] < source.count[:, None]
        keys = jnp.where(is_real, jax.random.uniform(key, source.table.shape), -1.0)
        value, column = jax.lax.top_k(keys, num_drawn)
        index = jnp.take_along_axis(source.table, column, axis=1)
        weight = (value >= 0.0).astype(jnp.float32)
        short = ((0, 0), (0, batch_size - num_drawn))
        index, weight = jnp.pad(index, short), jnp.pad(weight, short)
        return whole.gather(source, index, weight)

    return sample
