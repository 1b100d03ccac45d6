# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Linear systems A v = b of which only products with A are known.

    conjugate gradients   exact after as many products as A has different eigenvalues
    a Neumann series      v_K = a sum_{k<K} (I - a A)^k b,  for a < 2 / max eigenvalue

Both take a fixed number of products, so that they run under ``jit`` and ``vmap``, and
stay finite where A is not positive definite.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from distill_jax import errors
from distill_jax.types import Array

__all__ = [
    "Solver",
    "SolverOptions",
    "check_solver",
    "conjugate_gradients",
    "neumann_series",
    "positive_or_one",
]

Solver = Literal["cg", "neumann"]


class SolverOptions(NamedTuple):
    """How the linear system of a hypergradient is solved, and how long its part may be.

    Attributes:
      solver: ``"cg"`` or ``"neumann"``.
      num_iterations: products with the operator; always so many.
      damping: d, at least 0.
      step_size: a of the Neumann series ``v = a sum_k (I - a A)^k b``, which converges
        for a below 2 over the largest eigenvalue of A; not read for ``"cg"``.
      clip_ratio: the implicit part of a leaf of S may be so many times as long as the
        direct part (1 in the paper of RCIG); leaves with no direct part are left alone.
      clip_norm: the implicit part of a leaf of S may be so long.

    Example:
      >>> SolverOptions("neumann", num_iterations=50, step_size=0.1).damping
      0.0
    """

    solver: Solver = "cg"
    num_iterations: int = 20
    damping: float = 0.0
    step_size: float | None = None
    clip_ratio: float | None = None
    clip_norm: float | None = None


def conjugate_gradients(
    product_fn: Callable[[Array], Array], b: Array, *, num_iterations: int
) -> Array:
    """Solves A v = b for a positive definite A, starting at v = 0.

    Args:
      product_fn: v [D] to A v [D].
      b: [D].
      num_iterations: K; exact from as many on as A has different eigenvalues.

    Returns:
      v [D]: the last iterate before a direction of no positive curvature, or the K-th.
      It is finite for every symmetric A, and differentiable through the iterations, in
      b and in what ``product_fn`` closes over.

    Example:
      >>> import jax.numpy as jnp
      >>> scale = jnp.array([1.0, 4.0])
      >>> v = conjugate_gradients(lambda v: scale * v, jnp.ones(2), num_iterations=2)
      >>> print(v.round(4))
      [1.   0.25]

    Reference:
      Magnus Hestenes, Eduard Stiefel, "Methods of Conjugate Gradients for Solving
      Linear Systems", 1952.
    """

    def step(_, carry):
        v, residual, direction, squared, is_going = carry
        product = product_fn(direction)
        curvature = _dot(direction, product)
        length = _ratio(squared, positive_or_one(curvature))
        moved = v + length * direction
        # Comparisons with NaN are false too; at an exact solution the direction is 0.
        is_going &= (curvature > 0) & jnp.all(jnp.isfinite(moved))
        keep = lambda new, old: jnp.where(is_going, new, old)
        residual = keep(residual - length * product, residual)
        next_squared = _dot(residual, residual)
        momentum = _ratio(next_squared, positive_or_one(squared))
        direction = keep(residual + momentum * direction, direction)
        return keep(moved, v), residual, direction, next_squared, is_going

    start = (jnp.zeros_like(b), b, b, _dot(b, b), jnp.array(True))
    return jax.lax.fori_loop(0, num_iterations, step, start)[0]


def neumann_series(
    product_fn: Callable[[Array], Array],
    b: Array,
    *,
    num_iterations: int,
    step_size: float,
) -> Array:
    """Sums a series that tends to the solution of A v = b.

        v_K = a sum_{k<K} (I - a A)^k b

    Args:
      product_fn: v [D] to A v [D].
      b: [D].
      num_iterations: K.
      step_size: a; converges for a positive definite A and a < 2 / max eigenvalue.

    Returns:
      v [D]: v_K, or the last sum before the residual would grow, which means negative
      curvature or too large a step.

    Example:
      >>> import jax.numpy as jnp
      >>> scale = jnp.array([1.0, 4.0])
      >>> v = neumann_series(
      ...     lambda v: scale * v, jnp.ones(2), num_iterations=60, step_size=0.25)
      >>> print(v.round(4))
      [1.   0.25]

    Reference:
      Jonathan Lorraine, Paul Vicol, David Duvenaud, "Optimizing Millions of
      Hyperparameters by Implicit Differentiation", 2020, Algorithm 3.
    """

    def step(_, carry):
        v, residual, squared, is_going = carry  # The k-th term is a times the residual.
        next_residual = residual - step_size * product_fn(residual)
        next_squared = _dot(next_residual, next_residual)
        is_going &= next_squared < squared
        keep = lambda new, old: jnp.where(is_going, new, old)
        v = keep(v + step_size * residual, v)
        residual, squared = keep(next_residual, residual), keep(next_squared, squared)
        return v, residual, squared, is_going

    start = (jnp.zeros_like(b), b, _dot(b, b), jnp.array(True))
    return jax.lax.fori_loop(0, num_iterations, step, start)[0]


def check_solver(
    solver: str,
    *,
    num_iterations: int,
    damping: float = 0.0,
    step_size: float | None = None,
    clip_ratio: float | None = None,
    clip_norm: float | None = None,
) -> None:
    """Raises unless the linear system can be solved in this way.

    Raises:
      InputError: for an unknown solver, fewer than one iteration, a negative damping,
        a Neumann series without a positive step size, a clip that is not positive.

    Example:
      >>> check_solver("neumann", num_iterations=50, step_size=0.1)
    """
    known = get_args(Solver)
    if solver not in known:
        raise errors.InputError(
            f'There is no solver "{solver}". {errors.nearest(str(solver), known)}'
        )
    errors.check_counts(of="the solver", num_iterations=num_iterations)
    if not damping >= 0:
        raise errors.InputError(
            f"`damping` is {damping}, which would make the operator less definite; "
            "use 0 or a positive number."
        )
    if solver == "neumann" and (step_size is None or not step_size > 0):
        raise errors.InputError(
            f"A Neumann series needs a positive `step_size`, got {step_size}; use a "
            "number below 2 over the largest eigenvalue of the damped Hessian, or the "
            'solver "cg", which needs none.'
        )
    for name, clip in (("clip_ratio", clip_ratio), ("clip_norm", clip_norm)):
        if clip is not None and not clip > 0:
            raise errors.InputError(
                f"`{name}` is {clip}, but the implicit part cannot be so long; use a "
                "positive number, or None for no clipping."
            )


def positive_or_one(number: Array) -> Array:
    """The number where it is positive, 1 elsewhere: what can be divided by.

    Example:
      >>> positive_or_one(jnp.array([2.0, 0.0, jnp.nan])).tolist()
      [2.0, 1.0, 1.0]
    """
    return jnp.where(number > 0, number, 1.0)


def _ratio(one: Array, other: Array) -> Array:
    """The quotient, whose derivative has no square of what it is divided by.

    Both are squares of a residual that rounding has left nothing of.
    """
    value, still = jax.lax.stop_gradient((one / other, other))
    change = (one - value * other) / still
    return value + (change - jax.lax.stop_gradient(change))


def _dot(one: Array, other: Array) -> Array:
    return jnp.vdot(one, other, precision=jax.lax.Precision.HIGHEST)
