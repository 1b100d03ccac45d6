# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses of outputs, and how class probabilities are written as labels of a kind."""

from typing import Any, get_args

import jax
import jax.numpy as jnp

from distill_jax import base, errors, types
from distill_jax.types import Array, Key

__all__ = [
    "check_targets",
    "encode",
    "encode_batch",
    "inference_loss",
    "soft_cross_entropy",
    "squared_error",
]


def encode_batch(task: base.Task, batch: base.Examples) -> base.Examples:
    """Writes the targets of real examples as the task's losses take them.

    Args:
      task: says how.
      batch: targets as the data have them.

    Example:
      >>> import distill_jax as dj, jax.numpy as jnp
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec, targets="centred")
      >>> batch = encode_batch(task, dj.Examples(jnp.ones((1, 64)), jnp.eye(10)[:1]))
      >>> [round(float(value), 2) for value in batch.y[0, :2]]
      [0.9, -0.1]
    """
    return batch._replace(y=task.encode(batch.y))


def inference_loss(
    task: base.Task,
    variables: base.Variables,
    key: Key,
    examples: Any,
    context: Any,
) -> Array:
    """The loss of examples under a network that does not learn from them.

    Args:
      task: where it has no ``output_loss``, its ``test_loss`` is taken.
      variables: of one network.
      key: what the task draws from.
      examples: with targets as ``train_loss`` takes them.
      context: in which the network has learned.

    Returns:
      [B], without weights.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec)
      >>> variables = task.init(jax.random.key(0), None)
      >>> examples = dj.Examples(jnp.ones((2, 8, 8, 1)), jnp.eye(10)[:2])
      >>> inference_loss(task, variables, jax.random.key(1), examples, None).shape
      (2,)
    """
    if task.output_loss is None:
        return task.test_loss(variables, key, examples, context)
    return task.output_loss(task.predict(variables, examples.x, context), examples.y)


def soft_cross_entropy(logits: Array, y: Array) -> Array:
    """The cross-entropy of each example, ``- sum_c y_c log softmax(z)_c``.

    Args:
      logits: [B, C].
      y: [B, C] class probabilities; a row need not sum to one.

    Returns:
      [B]. The gradient in the logits is ``(sum_c y_c) softmax(z) - y``.

    Example:
      >>> import jax.numpy as jnp
      >>> logits = jnp.log(jnp.array([[1.0, 3.0]]))  # Probabilities 1/4, 3/4.
      >>> loss = soft_cross_entropy(logits, jnp.array([[0.5, 0.5]]))
      >>> round(float(loss[0]), 4)
      0.837
    """
    return -jnp.sum(y * jax.nn.log_softmax(logits), axis=-1)


def squared_error(logits: Array, y: Array) -> Array:
    """Half the squared error of each example, ``1/2 sum_c (z_c - y_c)^2``.

    Args:
      logits: [B, C].
      y: [B, C] centred labels.

    Returns:
      [B].

    Example:
      >>> import jax.numpy as jnp
      >>> print(squared_error(jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 0.0]])))
      [2.5]
    """
    return 0.5 * jnp.sum((logits - y) ** 2, axis=-1)


def encode(probabilities: Array, targets: types.Targets) -> Array:
    """Writes class probabilities as labels of a kind.

        "centred":  (p - 1/C) / sqrt(C / 10)

    Args:
      probabilities: [..., C]; one-hot rows for hard labels.
      targets: ``"probabilities"`` or ``"centred"``.

    Returns:
      [..., C].

    Raises:
      InputError: if the targets are none of the two kinds.

    Example:
      >>> import jax.numpy as jnp
      >>> print(encode(jnp.eye(10)[3, 2:5], "probabilities"))
      [0. 1. 0.]
      >>> print(encode(jnp.eye(10)[3], "centred")[2:5])
      [-0.1  0.9 -0.1]

    Reference:
      Zhou, Nezhadarya, Ba, "Dataset Distillation using Neural Feature Regression",
      2022.
    """
    check_targets(targets)
    if targets == "probabilities":
        return probabilities
    num_classes = probabilities.shape[-1]
    return (probabilities - 1 / num_classes) / (num_classes / 10) ** 0.5


def check_targets(targets: str) -> None:
    """Raises unless classes can be written as targets of a kind.

    Example:
      >>> check_targets("centred")
    """
    known = get_args(types.Targets)
    if targets not in known:
        raise errors.InputError(
            f'`targets` is "{targets}", which no task knows. '
            f"{errors.nearest(str(targets), known)}"
        )
    if targets == "values":
        raise errors.InputError(
            'A classification task cannot have targets of the kind "values", which are '
            'numbers to be regressed; use "probabilities" or "centred".'
        )
