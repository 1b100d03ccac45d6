# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Kernel distillation without networks: a kernel of infinitely wide ones (KIP).

    P = K_ts (K_ss + r tr(K_ss) / M I)^{-1} Y_s
    L = mean_b mean_c 1/2 (P_bc - Y_bc)^2

Nguyen, Chen and Lee, "Dataset Meta-Learning from Kernel Ridge-Regression", 2021.
"""

import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.inner import ntk
from distill_jax.inner import ridge as ridges
from distill_jax.objectives import checks
from distill_jax.training import gradient_step

__all__ = ["kernel_inducing_points"]


def kernel_inducing_points(
    *,
    kernel: ntk.Kernel | None = None,
    depth: int = 1,
    ridge: float = 1e-6,
    task: base.Task | None = None,
) -> base.Objective:
    """Distils by kernel ridge regression with a fixed kernel.

    There is no network, and nothing is carried from step to step but the synthetic
    examples. The mean is over examples *and* classes, in FRePo over examples only.

    Args:
      kernel: ``(x [N, ...], x' [M, ...]) -> [N, M]``, positive definite and
        differentiable; by default the neural tangent kernel of a fully connected
        network, :func:`~distill_jax.inner.ntk.fully_connected_kernel`.
      depth: hidden layers of the network of the default kernel.
      ridge: the regulariser, as a multiple of the mean diagonal of the kernel.
      task: where its targets are values, it says how they are written; by default
        examples have classes.

    Returns:
      An :class:`~distill_jax.base.Objective` whose inner state is ``{}``. Synthetic
      labels are centred; the batch holds class probabilities, from which ``1/C`` is
      subtracted here. Without classes both are values, and no accuracy is logged.

    Raises:
      InputError: when the ridge is not positive; from ``init``, when synthetic examples
        have weights.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> import distill_jax as dj
      >>> objective = kernel_inducing_points(kernel=lambda x, y: x @ y.T, ridge=1.0)
      >>> synthetic = dj.Synthetic(x=jnp.eye(2), y=jnp.eye(2) - 0.5)
      >>> batch = dj.Examples(x=jnp.eye(2), y=jnp.eye(2))
      >>> loss, aux = objective.loss(synthetic, jax.random.key(0), {}, batch)
      >>> float(loss), float(aux.metrics["ridge_accuracy"])
      (0.03125, 1.0)

    Reference:
      Timothy Nguyen, Zhourong Chen, Jaehoon Lee, "Dataset Meta-Learning from Kernel
      Ridge-Regression", 2021, algorithm 1.
    """
    if not ridge > 0:
        raise errors.InputError(
            f"`ridge` must be positive, got {ridge}; synthetic examples may become "
            "equal, and then the kernel is singular without it."
        )
    if kernel is None:
        kernel = ntk.fully_connected_kernel(depth=depth)

    has_classes = task is None or task.has_classes

    def init(key, synthetic):
        del key  # There is no network to draw.
        if synthetic.weight is not None:
            raise errors.InputError(
                "The synthetic examples have weights, which kernel ridge regression "
                "does not know; use a decoder without them."
            )
        return {}

    def loss(synthetic, key, inner, batch):
        del key, inner  # Deterministic, and without state.
        checks.check_no_contexts(
            batch, "A fixed kernel", "it has no network that could learn in them"
        )
        if task is None or task.has_classes:
            y_real = batch.y - 1.0 / batch.y.shape[-1]
        else:
            y_real = task.encode(batch.y)
        predicted = ridges.kernel_predict(
            kernel(synthetic.x, synthetic.x),
            kernel(batch.x, synthetic.x),
            synthetic.y,
            ridge=ridge,
        )
        half_squares = 0.5 * jnp.mean((predicted - y_real) ** 2, axis=-1)
        metrics = {}
        if has_classes:
            is_right = predicted.argmax(-1) == y_real.argmax(-1)
            metrics["ridge_accuracy"] = gradient_step.weighted_mean(
                is_right.astype(predicted.dtype), batch.weight
            )
        value = gradient_step.weighted_mean(half_squares, batch.weight)
        return value, base.Aux(metrics=metrics)

    return base.Objective(
        init=init,
        loss=loss,
        advance=lambda key, inner, synthetic, batch: inner,
        at=lambda *networks: {},  # There are none.
    )
