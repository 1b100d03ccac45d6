# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""The hypergradient at an optimum, by the implicit function theorem.

For F(S) = outer(theta*(S), S) with theta*(S) a minimum of inner(., S),

    dF/dS = d_S outer - (d_S d_theta inner)^T v,    (d^2_theta inner + d I) v = b,
    b = d_theta outer

so that what training went through need not be kept. The linear system is solved by
products of the Hessian and a vector, forward over reverse, with conjugate gradients or
a Neumann series (Lorraine, Vicol and Duvenaud, "Optimizing Millions of Hyperparameters
by Implicit Differentiation", 2020). Its first use for distillation is that of Loo et
al., "Dataset Distillation with Convexified Implicit Gradients", 2023.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.flatten_util
import jax.numpy as jnp
import optax

from distill_jax import errors
from distill_jax.types import Array, PyTree

__all__ = [
    "Diagnostics",
    "Solver",
    "check_solver",
    "conjugate_gradients",
    "gauss_newton_product",
    "neumann_series",
    "through_optimum",
]

Solver = Literal["cg", "neumann"]


class Diagnostics(NamedTuple):
    """What one looks at beside the value; no gradient flows through the numbers."""

    outer: Any  # what `outer_fn` told beside its value, or None
    residual: Array  # [] |b - A v| / |b| of the linear system, 0 where b is
    inner_gradient_norm: Array  # [] |d_theta inner|, 0 at an optimum
    direct_norm: Array  # [] of d_S outer
    implicit_norm: Array  # [] of the implicit part, before it is clipped


def through_optimum(
    outer_fn: Callable[[PyTree, PyTree], Any],
    inner_fn: Callable[[PyTree, PyTree], Array],
    params: PyTree,
    synthetic: PyTree,
    *,
    solver: Solver = "cg",
    num_iterations: int = 20,
    damping: float = 0.0,
    step_size: float | None = None,
    clip_ratio: float | None = None,
    clip_norm: float | None = None,
    product_fn: Callable[[PyTree, PyTree, PyTree], PyTree] | None = None,
    has_aux: bool = False,
) -> tuple[Array, Diagnostics]:
    """The outer value at an optimum, with the derivative that follows the optimum.

    The value is ``outer_fn(params, synthetic)``. Differentiated once in ``synthetic``
    it gives dF/dS, with ``params`` as theta*; ``params`` itself gets no gradient. The
    system is solved with the value, under ``jit``, ``vmap`` and ``lax.map`` alike.

    Away from an optimum the number is an approximation, the better the smaller
    ``inner_gradient_norm``. Conjugate gradients need a positive definite operator: an
    inner problem with an indefinite Hessian has no such optimum, and they then stop at
    the last iterate before the direction of negative curvature (at v = 0 if that is the
    first). Damping d adds d to every eigenvalue: it makes the operator definite where d
    is above the size of the most negative one, and v is then shorter, below 1/d times
    the length of b for a Hessian that was definite.

    Args:
      outer_fn: ``(params, synthetic)`` to a scalar, or to it and an auxiliary value.
      inner_fn: ``(params, synthetic)`` to the scalar that ``params`` minimise.
      params: theta*.
      synthetic: S, any tree; its integers get no gradient.
      solver: ``"cg"`` or ``"neumann"``.
      num_iterations: products with the operator; always so many.
      damping: d, at least 0.
      step_size: a of the Neumann series ``v = a sum_k (I - a A)^k b``, which converges
        for a below 2 over the largest eigenvalue of A; not read for ``"cg"``.
      clip_ratio: the implicit part of a leaf of S may be so many times as long as the
        direct part (1 in the paper); leaves with no direct part are left alone.
      clip_norm: the implicit part of a leaf of S may be so long.
      product_fn: ``(params, synthetic, vector)`` to the product that stands for that
        of the Hessian, such as :func:`gauss_newton_product`.
      has_aux: whether ``outer_fn`` gives an auxiliary value.

    Returns:
      The value and its :class:`Diagnostics`.

    Raises:
      InputError: as :func:`check_solver`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> inner = lambda theta, s: 0.5 * 4.0 * theta**2 - s * theta  # theta* = s / 4
      >>> outer = lambda theta, s: theta**2
      >>> loss = lambda s: through_optimum(outer, inner, s / 4, s, num_iterations=1)[0]
      >>> float(loss(8.0)), float(jax.grad(loss)(8.0))  # s^2 / 16 and s / 8
      (4.0, 1.0)

    Reference:
      Jonathan Lorraine, Paul Vicol, David Duvenaud, "Optimizing Millions of
      Hyperparameters by Implicit Differentiation", 2020, eq. 2 and Algorithm 3. Noel
      Loo et al., "Dataset Distillation with Convexified Implicit Gradients", 2023,
      section 3 and, for the clipping of each leaf, its released code.
    """
    check_solver(
        solver,
        num_iterations=num_iterations,
        damping=damping,
        step_size=step_size,
        clip_ratio=clip_ratio,
        clip_norm=clip_norm,
    )
    params, fixed = jax.lax.stop_gradient((params, synthetic))
    outer_only = (lambda p, s: outer_fn(p, s)[0]) if has_aux else outer_fn
    b, unflatten = jax.flatten_util.ravel_pytree(jax.grad(outer_only)(params, fixed))
    inner_grad, hessian_product = jax.linearize(
        lambda p: jax.grad(inner_fn)(p, fixed), params
    )

    def operator(flat: Array) -> Array:
        vector = unflatten(flat)
        if product_fn is None:
            curved = hessian_product(vector)
        else:
            curved = product_fn(params, fixed, vector)
        return jax.flatten_util.ravel_pytree(curved)[0] + damping * flat

    solve_fn = conjugate_gradients
    if solver == "neumann" and step_size is not None:  # As `check_solver` made sure.
        solve_fn = functools.partial(neumann_series, step_size=step_size)
    v = jax.lax.stop_gradient(solve_fn(operator, b, num_iterations=num_iterations))

    def along(synthetic: PyTree) -> Array:
        """- v^T d_theta inner, whose derivative in S is the implicit part."""
        at = lambda p: inner_fn(p, synthetic)
        return -jax.jvp(at, (params,), (unflatten(v),))[1]

    direct = jax.grad(outer_only, argnums=1, allow_int=True)(params, fixed)
    implicit = jax.grad(along, allow_int=True)(fixed)
    clipped = synthetic
    if clip_ratio is not None or clip_norm is not None:
        clip = lambda d, i: _clip_factor(_size(d), _size(i), clip_ratio, clip_norm)
        factors = jax.tree.map(clip, direct, implicit)
        clipped = jax.tree.map(_scale_derivative, synthetic, factors)
    followed = along(clipped)
    value, aux = outer_fn(params, synthetic), None
    if has_aux:
        value, aux = value
    told = (
        _size(b - operator(v)) / _or_one(_size(b)),
        optax.tree.norm(inner_grad),
        _tree_size(direct),
        _tree_size(implicit),
    )
    # The derivative of what follows the optimum, and none of its value.
    value = value + (followed - jax.lax.stop_gradient(followed))
    return value, Diagnostics(aux, *jax.lax.stop_gradient(told))


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
    if num_iterations < 1:
        raise errors.InputError(
            f"`num_iterations` of the solver must be at least 1, got {num_iterations}."
        )
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
      It is finite for every symmetric A.

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
        length = squared / _or_one(curvature)
        then = v + length * direction
        # Comparisons with NaN are false too; at an exact solution the direction is 0.
        is_going &= (curvature > 0) & jnp.all(jnp.isfinite(then))
        keep = lambda new, old: jnp.where(is_going, new, old)
        residual = keep(residual - length * product, residual)
        now = _dot(residual, residual)
        direction = keep(residual + now / _or_one(squared) * direction, direction)
        return keep(then, v), residual, direction, now, is_going

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
        then = residual - step_size * product_fn(residual)
        now = _dot(then, then)
        is_going &= now < squared
        keep = lambda new, old: jnp.where(is_going, new, old)
        v = keep(v + step_size * residual, v)
        return v, keep(then, residual), keep(now, squared), is_going

    start = (jnp.zeros_like(b), b, _dot(b, b), jnp.array(True))
    return jax.lax.fori_loop(0, num_iterations, step, start)[0]


def gauss_newton_product(
    model_fn: Callable[[PyTree], PyTree],
    loss_fn: Callable[[PyTree], Array],
    params: PyTree,
    vector: PyTree,
) -> PyTree:
    """The product of the Gauss-Newton matrix and a vector, J^T H J v.

    It is the Hessian of ``loss_fn(model_fn(params))`` without the curvature of the
    model, and never negative for a convex loss.

    Args:
      model_fn: parameters to outputs; J is its Jacobian.
      loss_fn: outputs to a scalar; H is its Hessian.
      params: where.
      vector: v, like ``params``.

    Returns:
      A tree like ``params``.

    Example:
      >>> import jax.numpy as jnp
      >>> loss_fn = lambda outputs: 0.5 * jnp.sum(outputs**2)
      >>> print(gauss_newton_product(lambda p: p**2, loss_fn, 3.0, 1.0))
      36.0

    Reference:
      Nicol Schraudolph, "Fast Curvature Matrix-Vector Products for Second-Order
      Gradient Descent", 2002.
    """
    outputs, pushed = jax.jvp(model_fn, (params,), (vector,))
    curved = jax.jvp(jax.grad(loss_fn), (outputs,), (pushed,))[1]
    return jax.vjp(model_fn, params)[1](curved)[0]


def _dot(one: Array, other: Array) -> Array:
    return jnp.vdot(one, other, precision=jax.lax.Precision.HIGHEST)


def _or_one(number: Array) -> Array:
    """The number where it is positive, 1 elsewhere."""
    return jnp.where(number > 0, number, 1.0)


def _size(leaf: Array) -> Array:
    """The norm of a leaf of a gradient; 0 for that of integers."""
    if leaf.dtype == jax.dtypes.float0:
        return jnp.zeros(())
    return jnp.sqrt(jnp.sum(jnp.square(leaf)))


def _tree_size(tree: PyTree) -> Array:
    sizes = [_size(leaf) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum((jnp.square(size) for size in sizes), jnp.zeros(())))


def _clip_factor(
    direct: Array, implicit: Array, ratio: float | None, norm: float | None
) -> Array:
    """What the implicit part of one leaf is multiplied with, at most 1."""
    bound = jnp.full_like(implicit, jnp.inf if norm is None else norm)
    if ratio is not None:
        bound = jnp.minimum(bound, jnp.where(direct > 0, ratio * direct, jnp.inf))
    return jnp.minimum(bound / _or_one(implicit), 1.0)


def _scale_derivative(leaf: Any, factor: Array) -> Any:
    """The leaf, whose derivative is multiplied with a factor."""
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
        return leaf
    still = jnp.asarray(jax.lax.stop_gradient(leaf))
    return still + factor.astype(still.dtype) * (leaf - still)
