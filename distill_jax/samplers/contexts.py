# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Contexts of a task, and examples to judge a network by in each of them.

    tau_k ~ P(tau),    T_k ~ sampler,    k = 1, ..., K

The outer problem of a family of tasks is a mean over tau: Kungurtsev et al., "Dataset
Distillation from First Principles: Integrating Core Information Extraction and
Purposeful Learning", 2024.
"""

from collections.abc import Callable
from typing import Any

import jax

from distill_jax import base, errors
from distill_jax.types import Array, Key

__all__ = ["in_contexts"]


def in_contexts(
    sample_context: Callable[[Key], Any],
    sampler: base.Sampler | None = None,
    *,
    num_contexts: int,
) -> base.Sampler:
    """Draws contexts, and a batch for each of them.

    Args:
      sample_context: of the task, ``task.sample_context``, or another law of contexts.
      sampler: draws the examples of one context, independently of it; None where the
        loss of the task needs no examples.
      num_contexts: K.

    Returns:
      A sampler of :class:`~distill_jax.base.Contextual`: examples ``[K, B, ...]`` or
      None, and contexts ``[K, ...]``.

    Raises:
      InputError: when there are to be no contexts.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> source = dj.data.to_source(dj.data.load("digits"))
      >>> mask = lambda key: jax.random.bernoulli(key, 0.5, (8, 8, 1))
      >>> sampler = in_contexts(mask, dj.samplers.uniform(32), num_contexts=3)
      >>> batch = sampler(jax.random.key(0), 0, source)
      >>> batch.context.shape, batch.examples.x.shape
      ((3, 8, 8, 1), (3, 32, 8, 8, 1))
    """
    errors.check_counts(num_contexts=num_contexts)

    def sample(key: Key, step: Array, source: Any) -> base.Contextual:
        key_contexts, key_examples = jax.random.split(key)
        contexts = jax.vmap(sample_context)(
            jax.random.split(key_contexts, num_contexts)
        )
        if sampler is None:
            return base.Contextual(None, contexts)
        keys = jax.random.split(key_examples, num_contexts)
        examples = jax.vmap(sampler, in_axes=(0, None, None))(keys, step, source)
        return base.Contextual(examples, contexts)

    return sample
