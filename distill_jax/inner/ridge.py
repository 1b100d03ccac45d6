# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ridge regression in closed form, in the dual: the last layer, trained to its optimum.

P = K_ts (K_ss + r tr(K_ss) / M I)^{-1} Y_s,   K_ab = F_a F_b^T
"""

import jax.numpy as jnp
import jax.scipy as jsp

from distill_jax.types import Array

__all__ = ["kernel_predict", "predict"]


def predict(
    features_support: Array, features_target: Array, y: Array, *, ridge: float
) -> Array:
    """Predicts targets by ridge regression on the features of the support.

    Args:
      features_support: ``[M, D]``.
      features_target: ``[B, D]``.
      y: ``[M, C]``, the labels of the support.
      ridge: the regulariser, as a multiple of the mean diagonal entry of the kernel.

    Returns:
      Predictions ``[B, C]``; differentiable in every argument.

    Example:
      >>> import jax.numpy as jnp
      >>> f = jnp.eye(2)
      >>> print(predict(f, f, jnp.eye(2), ridge=1.0).round(4))
      [[0.5 0. ]
       [0.  0.5]]

    Reference:
      Yongchao Zhou, Ehsan Nezhadarya, Jimmy Ba, "Dataset Distillation using Neural
      Feature Regression", 2022, eq. 4.
    """
    return kernel_predict(
        features_support @ features_support.T,
        features_target @ features_support.T,
        y,
        ridge=ridge,
    )


def kernel_predict(k_ss: Array, k_ts: Array, y: Array, *, ridge: float) -> Array:
    """Predicts targets by ridge regression with a given kernel.

    Args:
      k_ss: ``[M, M]``, kernel of the support with itself.
      k_ts: ``[B, M]``, kernel of the targets with the support.
      y: ``[M, C]``, the labels of the support.
      ridge: the regulariser, as a multiple of ``tr(k_ss) / M``.

    Returns:
      Predictions ``[B, C]``.

    Example:
      >>> import jax.numpy as jnp
      >>> one = jnp.ones((1, 1))
      >>> print(kernel_predict(2 * one, one, one, ridge=1.0).round(4))
      [[0.25]]
    """
    num_support = k_ss.shape[0]
    scale = ridge * jnp.trace(k_ss) / num_support
    regular = k_ss + scale * jnp.eye(num_support, dtype=k_ss.dtype)
    factor = jsp.linalg.cho_factor(regular, lower=True)
    return k_ts @ jsp.linalg.cho_solve(factor, y)
