# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Losses of outputs, and how class probabilities are written as labels of a kind."""

from typing import get_args

import jax
import jax.numpy as jnp

from distill_jax import errors, types
from distill_jax.types import Array

__all__ = ["check_targets", "encode", "soft_cross_entropy", "squared_error"]


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
