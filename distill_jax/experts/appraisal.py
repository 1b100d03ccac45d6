# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How good an expert is after every epoch, and how soft its labels are.

An epoch number says nothing without the learning rate; accuracy and label entropy do.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax import base, tasks
from distill_jax.training import loop
from distill_jax.types import Array

__all__ = ["Appraisal", "appraise", "label_entropy"]


class Appraisal(NamedTuple):
    """What is known of an expert after every epoch."""

    accuracy: Array  # [E + 1] fractions
    entropy: Array  # [E + 1] nats, the mean entropy of its labels


def appraise(
    task: base.Task,
    expert: base.Variables,
    x: Any,
    y: Array,
    *,
    normalizer: Any = None,
    context: Any = None,
) -> Appraisal:
    """Tells the accuracy and the softness of the labels of an expert at every epoch.

    Args:
      task: what it was trained with.
      expert: from :func:`train_expert`, leading axis E + 1.
      x: [N, ...] inputs that it was not trained on; raw where a normaliser is given.
      y: [N] classes.
      normalizer: of the inputs.
      context: of the task that the expert learned.

    Returns:
      An :class:`Appraisal`; NaN where the task has no classes.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax import experts
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> expert = experts.train_expert(
      ...     jax.random.key(0), task, dj.data.to_source(data),
      ...     experts.Training(num_epochs=9, learning_rate=0.1))
      >>> appraisal = experts.appraise(
      ...     task, expert, data.validation.x, data.validation.y,
      ...     normalizer=data.spec.normalizer)
      >>> bool(appraisal.accuracy[9] > appraisal.accuracy[0])
      True
    """

    def one_epoch(variables: base.Variables) -> Appraisal:
        if not task.has_classes:
            return Appraisal(jnp.asarray(jnp.nan), jnp.asarray(jnp.nan))
        logits = loop.predict_logits(
            task, variables, x, normalizer=normalizer, context=context
        )
        is_right = tasks.is_right(logits, y)
        return Appraisal(is_right.mean(), label_entropy(jax.nn.softmax(logits)).mean())

    return jax.lax.map(one_epoch, expert)


def label_entropy(probabilities: Array) -> Array:
    """The entropy of labels in nats, ``- sum_c p_c log p_c``.

    Args:
      probabilities: [..., C].

    Returns:
      [...], from 0 for one-hot labels to log C. The gradient is finite where an entry
      is 0.

    Example:
      >>> import jax.numpy as jnp
      >>> [round(float(h), 4) for h in label_entropy(jnp.array([[1.0, 0], [0.5, 0.5]]))]
      [0.0, 0.6931]
    """
    has_mass = probabilities > 0
    logs = jnp.log(jnp.where(has_mass, probabilities, 1.0))
    return 0.0 - jnp.sum(probabilities * logs, axis=-1)  # No minus zero.
