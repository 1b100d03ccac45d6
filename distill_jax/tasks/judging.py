# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How networks are judged: the metrics of a task, over all of the held-out examples.

    accuracy = mean_n [ argmax f(theta, x_n) = y_n  and  f(theta, x_n) is finite ]

An example without a finite output is not right by luck: the argmax of NaN is class 0.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors
from distill_jax import data as data_lib
from distill_jax.compute import blocks
from distill_jax.types import Array, Metric, PyTree

__all__ = ["ACCURACY", "accuracy", "is_right", "metrics_of", "predict_held_out"]

ACCURACY = Metric("accuracy", is_fraction=True, worst=0.0)

MetricsFn = Callable[[base.Variables, Any, Any], Mapping[str, Array]]


def metrics_of(task: base.Task) -> tuple[MetricsFn, tuple[Metric, ...]]:
    """Tells what a task judges networks by.

    Args:
      task: where it says nothing, networks are judged by the accuracy of ``predict``.

    Returns:
      ``(variables, held-out examples, context) -> {name: [N] or []}``, and what is
      known of each name; the first one decides.

    Raises:
      InputError: if a task has metrics and its facts know of none.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec)
      >>> _, (primary,) = dj.tasks.metrics_of(task)
      >>> primary.name, primary.is_higher_better
      ('accuracy', True)
    """
    if task.metrics is not None:
        if not task.facts.metrics:
            raise errors.InputError(
                "The task has `metrics`, but its facts do not say what they are; give "
                "`TaskFacts.metrics` a `Metric` for each, the one that decides first."
            )
        return task.metrics, task.facts.metrics

    def metrics(
        variables: base.Variables, data: Any, context: Any
    ) -> Mapping[str, Array]:
        outputs = predict_held_out(task.predict, variables, data, context)
        return {ACCURACY.name: accuracy(outputs, data.y)}

    return metrics, (ACCURACY,)


def predict_held_out(
    predict: Callable[[base.Variables, PyTree, Any], Array],
    variables: base.Variables,
    data: Any,
    context: Any,
    *,
    chunk_size: int = 512,
) -> Array:
    """Gives the outputs of a network for many examples, some at a time.

    Args:
      predict: that of a task.
      variables: of one network.
      data: :class:`~distill_jax.base.HeldOut`, or examples that networks can see.
      context: of the task.
      chunk_size: how many at a time; the remainder is kept.

    Returns:
      [N, C].

    Example:
      >>> import jax.numpy as jnp
      >>> double = lambda variables, x, context: 2 * x
      >>> data = base.HeldOut(jnp.ones((7, 1)), jnp.zeros(7, jnp.int32))
      >>> predict_held_out(double, base.Variables({}, {}), data, None).shape
      (7, 1)
    """
    normalizer = getattr(data, "normalizer", None)

    def one_chunk(x: PyTree) -> Array:
        x = x if normalizer is None else data_lib.normalize(normalizer, x)
        return predict(variables, x, context)

    return blocks.map_chunks(one_chunk, data.x, chunk_size)


def accuracy(logits: Array, y: Array) -> Array:
    """Tells of each example whether its class was named.

    Args:
      logits: [N, C].
      y: [N] classes or [N, C] probabilities.

    Returns:
      [N] 1 where it was, 0 where not, NaN where the logits are not finite.

    Example:
      >>> import jax.numpy as jnp
      >>> logits = jnp.array([[0.0, 1.0], [1.0, 0.0], [jnp.nan, 0.0]])
      >>> accuracy(logits, jnp.array([1, 1, 0])).tolist()
      [1.0, 0.0, nan]
    """
    right = is_right(logits, y).astype(logits.dtype)
    return jnp.where(jnp.isfinite(logits).all(axis=-1), right, jnp.nan)


def is_right(logits: Any, y: Any) -> Array:
    """Tells whether the largest logit is that of the class.

    Args:
      logits: [..., C].
      y: [...] classes or [..., C] probabilities.

    Returns:
      [...]; false where a logit is not finite.

    Example:
      >>> import jax.numpy as jnp
      >>> is_right(jnp.array([[0.0, 1.0], [jnp.nan, 0.0]]), jnp.array([1, 0])).tolist()
      [True, False]
    """
    if np.ndim(y) == np.ndim(logits):
        y = jnp.argmax(y, axis=-1)
    is_finite = jnp.isfinite(logits).all(axis=-1)
    return (jnp.argmax(logits, axis=-1) == y) & is_finite
