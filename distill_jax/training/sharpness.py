# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The direction of surrogate-gap minimisation (GSAM), which leads to flat minima.

    g  = dL/dw at w,     g' = dL/dw at w + e,     e = rho g / (norm of g + 1e-12)
    direction = g' - alpha (g - g' <g, g'> / <g', g'>)

The second term is the part of g that is orthogonal to g': it lowers L(w + e) - L(w) and
leaves the ascent to w + e alone. Adaptive perturbations scale with the weights:
e = rho w^2 g / (norm of w g + 1e-12). Norms are over all parameters together.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax.types import PyTree

__all__ = ["Sharpness", "flat_direction"]

_EPSILON = 1e-12


class Sharpness(NamedTuple):
    """How far to look for sharpness, and how strongly to avoid it."""

    radius: float = 0.01  # rho
    alpha: float = 0.3
    is_adaptive: bool = True


def flat_direction(
    grad_fn: Callable[[PyTree], tuple[PyTree, Any]],
    params: PyTree,
    sharpness: Sharpness,
) -> tuple[PyTree, Any]:
    """The direction that an optimiser is given in place of a gradient.

    Args:
      grad_fn: parameters to ``(gradient, auxiliary)``; called at ``params`` and beside
        them, with the same examples.
      params: w.
      sharpness: rho, alpha, and the kind of perturbation.

    Returns:
      The direction, as ``params``, and what came with the gradient at ``params``.

    Example:
      >>> import jax.numpy as jnp
      >>> grad_fn = lambda w: (2 * w, None)  # of the sum of squares
      >>> w = jnp.array([3.0, 4.0])
      >>> plain = Sharpness(radius=0.5, alpha=0.0, is_adaptive=False)
      >>> print(flat_direction(grad_fn, w, plain)[0])  # at 1.1 w
      [6.6 8.8]

    Reference:
      Juntang Zhuang et al., "Surrogate Gap Minimization Improves Sharpness-Aware
      Training", 2022, algorithm 1; Jungmin Kwon et al., "ASAM: Adaptive Sharpness-Aware
      Minimization for Scale-Invariant Learning of Deep Neural Networks", 2021, eq. 3;
      used for experts by Jiawei Du et al., "Minimizing the Accumulated Trajectory Error
      to Improve Dataset Distillation", 2023.
    """
    grads, aux = grad_fn(params)
    scaled, ascent = grads, grads
    if sharpness.is_adaptive:
        scaled = jax.tree.map(lambda w, g: jnp.abs(w) * g, params, grads)
        ascent = jax.tree.map(lambda w, g: jnp.square(w) * g, params, grads)
    size = sharpness.radius / (optax.tree.norm(scaled) + _EPSILON)
    beside = jax.tree.map(lambda w, e: w + (size * e).astype(w.dtype), params, ascent)
    grads_beside, _ = grad_fn(beside)
    length, length_beside = optax.tree.norm(grads), optax.tree.norm(grads_beside)
    product = optax.tree.vdot(grads, grads_beside)
    cosine = product / (length * length_beside + _EPSILON)
    along = cosine * length / (length_beside + _EPSILON)
    direction = jax.tree.map(
        lambda g, other: other - sharpness.alpha * (g - along * other),
        grads,
        grads_beside,
    )
    return direction, aux
