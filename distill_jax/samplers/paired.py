# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Two draws in one batch: examples to match and examples to train networks on."""

import jax

from distill_jax import base
from distill_jax.types import Array, Key

__all__ = ["pair"]


def pair(match: base.Sampler, train: base.Sampler) -> base.Sampler:
    """Draws a pair of batches, independently.

    Args:
      match: draws what the synthetic examples are compared with.
      train: draws what the networks are trained on.

    Returns:
      A sampler of :class:`~distill_jax.base.Pair`.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> source = dj.data.to_source(dj.data.load("digits"))
      >>> sampler = pair(dj.samplers.per_class(2), dj.samplers.uniform(32))
      >>> batch = sampler(jax.random.key(0), 0, source)
      >>> batch.match.x.shape, batch.train.x.shape
      ((10, 2, 8, 8, 1), (32, 8, 8, 1))
    """

    def sample(key: Key, step: Array, source: base.Source) -> base.Pair:
        key_match, key_train = jax.random.split(key)
        return base.Pair(match(key_match, step, source), train(key_train, step, source))

    return sample
