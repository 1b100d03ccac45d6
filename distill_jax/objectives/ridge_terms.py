# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The terms of a kernel objective under given features.

    regression:  mean_b 1/2 ||P_b - Y_b||^2,  or the cross-entropy of softmax(tau P_b)
    margin:      mean_i min(top1(y_i) - top2(y_i), limit)

P are the predictions of ridge regression, y_i the learned labels. Zhou, Nezhadarya and
Ba, "Dataset Distillation using Neural Feature Regression", 2022.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax.inner import ridge as ridges
from distill_jax.training import gradient_step
from distill_jax.types import Array

__all__ = ["KernelTerms", "kernel_terms", "label_margin"]


class KernelTerms(NamedTuple):
    """The value of the objective under one network, in parts."""

    regression: Array  # [] mean half squared error, or cross-entropy, of P
    margin: Array  # [] mean clipped margin of the labels
    accuracy: Array  # [] share of real examples that ridge regression gets right


def kernel_terms(
    features_syn: Array,
    features_real: Array,
    y_syn: Array,
    y_real: Array,
    *,
    weight: Array | None = None,
    ridge: float = 1e-6,
    margin_limit: float | None = None,
    temperature: Array | None = None,
    has_classes: bool = True,
) -> KernelTerms:
    """The regression error, label margin and accuracy under given features.

    Args:
      features_syn: ``[M, D]``.
      features_real: ``[B, D]``.
      y_syn: ``[M, C]``, the learned, centred labels.
      y_real: ``[B, C]``, one-hot labels minus ``1/C``.
      weight: ``[B]`` or ``None`` for equal weights.
      ridge: the regulariser, as a multiple of the mean diagonal of the kernel.
      margin_limit: see :func:`label_margin`.
      temperature: what multiplies predictions before the softmax of the cross-entropy;
        None for the squared error.
      has_classes: False where targets are values, which have no margin and no accuracy;
        both are then 0.

    Returns:
      :class:`KernelTerms`; the paper's loss is ``regression - margin``.

    Example:
      >>> import jax.numpy as jnp
      >>> y = jnp.eye(2) - 0.5
      >>> terms = kernel_terms(jnp.eye(2), jnp.eye(2), y, y, ridge=0.0)
      >>> float(terms.regression), float(terms.margin), float(terms.accuracy)
      (0.0, 0.5, 1.0)
    """
    predicted = ridges.predict(features_syn, features_real, y_syn, ridge=ridge)
    if temperature is None:
        losses = 0.5 * jnp.sum((predicted - y_real) ** 2, axis=-1)
    else:
        y = y_real + 1.0 / y_real.shape[-1]  # class probabilities again
        losses = optax.softmax_cross_entropy(temperature * predicted, y)
    if not has_classes:
        mean_loss = gradient_step.weighted_mean(losses, weight)
        return KernelTerms(mean_loss, jnp.zeros(()), jnp.zeros(()))
    is_right = predicted.argmax(-1) == y_real.argmax(-1)
    mean = lambda values: gradient_step.weighted_mean(values, weight)
    margin = label_margin(y_syn, margin_limit)
    return KernelTerms(mean(losses), margin, mean(is_right.astype(losses.dtype)))


def label_margin(y: Array, limit: float | None = None) -> Array:
    """The mean margin of labels between their first and second class, clipped.

    Args:
      y: ``[M, C]``.
      limit: where it is clipped; 1/C by default.

    Returns:
      A scalar: ``mean_i min(top1(y_i) - top2(y_i), limit)``.

    Example:
      >>> import jax.numpy as jnp
      >>> float(label_margin(jnp.array([[0.0, 0.25, 0.0, 0.125]])))
      0.125
    """
    top = jax.lax.top_k(y, 2)[0]
    limit = 1.0 / y.shape[-1] if limit is None else limit
    return jnp.mean(jnp.minimum(top[:, 0] - top[:, 1], limit))
