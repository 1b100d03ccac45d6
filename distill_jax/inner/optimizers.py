# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Optimisers that a derivative passes through: their steps have a finite one at zero.

d sqrt(v) / dv  is infinite at v = 0,    that of  sqrt(v + eps_root)  is not
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distill_jax import errors
from distill_jax.types import Array

__all__ = ["adam", "check_differentiable"]


def adam(
    learning_rate: Any, *, b1: float = 0.9, b2: float = 0.999, eps_root: float = 1e-10
) -> optax.GradientTransformation:
    """Adam as it can be differentiated.

    The derivative of the square root of a second moment is infinite at zero, where the
    parameters of a dead unit are; ``eps_root`` under the root keeps it finite.

    Args:
      learning_rate: a number, a schedule, or an array that is learned.
      b1: decay of the first moment.
      b2: decay of the second moment.
      eps_root: added to the second moment, above 0.

    Example:
      >>> check_differentiable(adam(1e-3))
    """
    if not eps_root > 0:
        raise errors.InputError(
            f"`eps_root` must be above 0 where Adam is differentiated, got {eps_root}."
        )
    return optax.adam(learning_rate, b1=b1, b2=b2, eps_root=eps_root)


def check_differentiable(optimizer: optax.GradientTransformation) -> None:
    """Raises for an optimiser whose step has no finite derivative at a zero gradient.

    Args:
      optimizer: any.

    Raises:
      InputError: for Adam without ``eps_root``, and the like.

    Example:
      >>> import optax
      >>> check_differentiable(optax.sgd(0.1, momentum=0.9))
    """

    def update(grads: Array) -> Array:
        params = jnp.ones_like(grads)
        updates: Any = optimizer.update(grads, optimizer.init(params), params)[0]
        return updates.sum()

    with jax.ensure_compile_time_eval():
        slope = jax.grad(update)(jnp.zeros(2))
    if not np.isfinite(np.asarray(slope)).all():
        raise errors.InputError(
            "The optimiser of the network cannot be differentiated through: the "
            "derivative of its step is not finite where a gradient is zero. Adam and "
            "its relatives need `eps_root` above 0, as `inner.optimizers.adam` has it."
        )
