# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Ridge regression in closed form: the last layer, trained to its optimum.

    dual:    P = K_ts (K_ss + s I)^{-1} Y_s,             K_ab = F_a F_b^T
    primal:  P = F_t (F_s^T F_s + s I)^{-1} F_s^T Y_s,   s = r tr(K_ss) / M

Both are the same number; the dual solves an [M, M] system, the primal a [D, D] one. And
the other way round: the labels that make such predictions right, for fixed inputs.

Products are exact on all devices: a kernel that was rounded to the ten bits of
TensorFloat-32, the default of GPUs, need not be positive definite any more.
"""

import jax
import jax.core
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.compute import solve
from distill_jax.types import Array

__all__ = [
    "dual_weights",
    "kernel_predict",
    "predict",
    "predict_primal",
    "solve_labels",
]


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

    Raises:
      InputError: as from :func:`dual_weights`.

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
        _product(features_support, features_support.T),
        _product(features_target, features_support.T),
        y,
        ridge=ridge,
    )


def predict_primal(
    features_support: Array, features_target: Array, y: Array, *, ridge: float
) -> Array:
    """Predicts as :func:`predict` by solving for the last layer's weights.

    Cheaper than the dual where there are more examples than features, ``M > D``; the
    predictions are the same.

    Args:
      features_support: ``[M, D]``.
      features_target: ``[B, D]``.
      y: ``[M, C]``, the labels of the support.
      ridge: the regulariser, as a multiple of the mean diagonal entry of the *kernel*,
        so that it means the same as in the dual.

    Returns:
      Predictions ``[B, C]``; differentiable in every argument.

    Raises:
      InputError: for a negative ridge; where a system that is not being traced is
        singular.

    Example:
      >>> import jax.numpy as jnp
      >>> f = jnp.array([[1.0], [2.0]])
      >>> y = jnp.array([[2.0], [4.0]])
      >>> print(predict_primal(f, f, y, ridge=2.0))  # Shrunk by 5 / (5 + 5).
      [[1.]
       [2.]]
    """
    _check_ridge(ridge)
    gram = _product(features_support.T, features_support)
    shift = ridge * jnp.trace(gram) / features_support.shape[0]  # tr F^T F = tr F F^T.
    weights = _solve(gram, _product(features_support.T, y), shift)
    _check_solution(weights, gram, y)
    return _product(features_target, weights)


def kernel_predict(k_ss: Array, k_ts: Array, y: Array, *, ridge: float) -> Array:
    """Predicts targets by ridge regression with a given kernel.

    Args:
      k_ss: ``[M, M]``, kernel of the support with itself.
      k_ts: ``[B, M]``, kernel of the targets with the support.
      y: ``[M, C]``, the labels of the support.
      ridge: the regulariser, as a multiple of ``tr(k_ss) / M``.

    Returns:
      Predictions ``[B, C]``.

    Raises:
      InputError: as from :func:`dual_weights`.

    Example:
      >>> import jax.numpy as jnp
      >>> one = jnp.ones((1, 1))
      >>> print(kernel_predict(2 * one, one, one, ridge=1.0).round(4))
      [[0.25]]
    """
    return _product(k_ts, dual_weights(k_ss, y, ridge=ridge))


def dual_weights(k_ss: Array, y: Array, *, ridge: float) -> Array:
    """Solves kernel ridge regression once, for any number of targets.

        a = (K_ss + r tr(K_ss) / M I)^{-1} Y_s,   predictions K_ts a

    Args:
      k_ss: ``[M, M]``, kernel of the support with itself.
      y: ``[M, C]``, the labels of the support.
      ridge: the regulariser, as a multiple of ``tr(k_ss) / M``; 0 for none.

    Returns:
      ``[M, C]``.

    Raises:
      InputError: for a negative ridge; where a kernel that is not being traced is
        singular.

    Example:
      >>> import jax.numpy as jnp
      >>> print(dual_weights(jnp.array([[4.0]]), jnp.array([[2.0]]), ridge=0.0))
      [[0.5]]
    """
    _check_ridge(ridge)
    weights = _solve(k_ss, y, ridge * jnp.trace(k_ss) / k_ss.shape[0])
    _check_solution(weights, k_ss, y)
    return weights


def solve_labels(
    k_ss: Array,
    k_ts: Array,
    y: Array,
    *,
    ridge: float,
    network_weight: Array | None = None,
    weight: Array | None = None,
    label_ridge: float = 1e-6,
) -> Array:
    """The best labels of fixed synthetic examples, under one or more kernels.

        Y* = argmin_Y  sum_n w_n sum_b v_b || (A_n Y - Y_t)_b ||^2 + s ||Y||^2
        A_n = K_ts,n (K_ss,n + r tr(K_ss,n) / M I)^{-1}

    The normal equations are summed kernel by kernel. They square the condition number
    of the ``A_n``, so that digits are lost in float32.

    Args:
      k_ss: ``[P, M, M]``, kernels of the synthetic examples with themselves.
      k_ts: ``[P, B, M]``, kernels of the targets with the synthetic examples.
      y: ``[B, C]``, the targets' labels.
      ridge: ``r``, as in :func:`dual_weights`.
      network_weight: ``w`` ``[P]``; equal by default.
      weight: ``v`` ``[B]``; equal by default.
      label_ridge: ``s``, as a multiple of the mean diagonal of the normal equations.

    Returns:
      ``[M, C]``.

    Raises:
      InputError: for a negative regulariser, shapes that do not fit one another, or,
        where nothing is being traced, singular equations.

    Example:
      >>> import jax.numpy as jnp
      >>> k_ss, k_ts = jnp.ones((1, 1, 1)), jnp.ones((1, 2, 1))
      >>> y = jnp.array([[0.0], [1.0]])
      >>> print(solve_labels(k_ss, k_ts, y, ridge=0.0, label_ridge=1.0).round(4))
      [[0.25]]

    Reference:
      Timothy Nguyen, Zhourong Chen, Jaehoon Lee, "Dataset Meta-Learning from Kernel
      Ridge-Regression", 2021, "label solve"; there for one kernel.
    """
    _check_ridge(ridge)
    _check_ridge(label_ridge, "label_ridge")
    _check_stack(k_ss, k_ts, y)
    num_networks, num_support = k_ss.shape[:2]
    if network_weight is None:
        network_weight = jnp.ones(num_networks, k_ss.dtype)
    rows = jnp.ones(y.shape[0], k_ss.dtype) if weight is None else weight

    def add(equations, network):
        k_ss, k_ts, w = network
        a = dual_weights(k_ss, k_ts.T, ridge=ridge).T  # K_ss is symmetric.
        weighted = w * rows[:, None] * a
        matrix, right = equations
        return (matrix + _product(weighted.T, a), right + _product(weighted.T, y)), None

    start = (
        jnp.zeros((num_support, num_support), k_ss.dtype),
        jnp.zeros((num_support, y.shape[1]), k_ss.dtype),
    )
    (matrix, right), _ = jax.lax.scan(add, start, (k_ss, k_ts, network_weight))
    labels = _solve(matrix, right, label_ridge * jnp.trace(matrix) / num_support)
    _check_solution(labels, k_ss, y)
    return labels


def _product(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def _solve(matrix: Array, right: Array, shift: Array) -> Array:
    """Solves ``(matrix + shift I) z = right`` for a positive definite matrix."""
    regular = matrix + shift * jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    return solve.solve_positive(regular, right)


def _check_solution(solution: Array, kernel: Array, y: Array) -> None:
    """Raises where a system that is not being traced was singular."""
    if isinstance(solution, jax.core.Tracer) or jnp.isfinite(solution).all():
        return
    if not (jnp.isfinite(kernel).all() and jnp.isfinite(y).all()):
        raise errors.InputError(
            "Ridge regression was given a kernel or labels that are not finite (NaN or "
            "infinity); look for where they come from."
        )
    size = "x".join(str(side) for side in kernel.shape)
    raise errors.InputError(
        f"A {size} kernel is singular in {kernel.dtype}, so that ridge regression has "
        "no solution, as with equal examples or with more examples than features; use "
        "a larger `ridge` (a jitter on the diagonal, such as 1e-3) or float64."
    )


def _check_ridge(ridge: float, name: str = "ridge") -> None:
    if not isinstance(ridge, jax.core.Tracer) and not ridge >= 0:
        raise errors.InputError(
            f"`{name}` is {ridge}, with which the kernel need not be positive "
            "definite; use a multiple of its mean diagonal such as 1e-6, or 0 for none."
        )


def _check_stack(k_ss: Array, k_ts: Array, y: Array) -> None:
    num_networks, num_support = k_ss.shape[0], k_ss.shape[-1]
    fits = (
        k_ss.shape == (num_networks, num_support, num_support)
        and k_ts.shape == (num_networks, y.shape[0], num_support)
        and y.ndim == 2
    )
    if not fits:
        raise errors.InputError(
            f"Kernels of shapes {k_ss.shape} and {k_ts.shape} and labels of shape "
            f"{y.shape} do not fit; pass [P, M, M], [P, B, M] and [B, C], with P = 1 "
            "for one kernel."
        )
