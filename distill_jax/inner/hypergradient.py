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
from typing import Any, NamedTuple

import jax
import jax.flatten_util
import jax.numpy as jnp
import optax

from distill_jax import deprecations
from distill_jax.inner import solvers
from distill_jax.types import Array, PyTree

__all__ = [
    "Diagnostics",
    "gauss_newton_product",
    "through_optimum",
]


class Diagnostics(NamedTuple):
    """What one looks at beside the value; no gradient flows through the numbers."""

    outer: Any  # the auxiliary value of `outer_fn`, or None
    residual: Array  # [] |b - A v| / |b| of the linear system, 0 where b is
    inner_gradient_norm: Array  # [] |d_theta inner|, 0 at an optimum
    direct_norm: Array  # [] of d_S outer
    implicit_norm: Array  # [] of the implicit part, before it is clipped


@deprecations.gathered_arguments("solver_options", solvers.SolverOptions)
def through_optimum(
    outer_fn: Callable[[PyTree, PyTree], Any],
    inner_fn: Callable[[PyTree, PyTree], Array],
    params: PyTree,
    synthetic: PyTree,
    *,
    solver_options: solvers.SolverOptions = solvers.SolverOptions(),
    product_fn: Callable[[PyTree, PyTree, PyTree], PyTree] | None = None,
    has_aux: bool = False,
) -> tuple[Array, Diagnostics]:
    """The outer value at an optimum, with the derivative that follows the optimum.

    The value is ``outer_fn(params, synthetic)``. Differentiated once in ``synthetic``
    it gives dF/dS, with ``params`` as theta*; ``params`` itself gets no gradient. That
    dF/dS can be differentiated in what ``outer_fn`` closes over, such as the weights of
    real examples, through the iterations that solve the system. The system is solved
    with the value, under ``jit``, ``vmap`` and ``lax.map`` alike.

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
      solver_options: how the system is solved, and how long the implicit part may be.
      product_fn: ``(params, synthetic, vector)`` to the product that stands for that
        of the Hessian, such as :func:`gauss_newton_product`.
      has_aux: whether ``outer_fn`` gives an auxiliary value.

    Returns:
      The value and its :class:`Diagnostics`.

    Raises:
      InputError: as :func:`~distill_jax.inner.solvers.check_solver`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> inner = lambda theta, s: 0.5 * 4.0 * theta**2 - s * theta  # theta* = s / 4
      >>> outer = lambda theta, s: theta**2
      >>> loss = lambda s: through_optimum(outer, inner, s / 4, s)[0]
      >>> float(loss(8.0)), float(jax.grad(loss)(8.0))  # s^2 / 16 and s / 8
      (4.0, 1.0)

    Reference:
      Jonathan Lorraine, Paul Vicol, David Duvenaud, "Optimizing Millions of
      Hyperparameters by Implicit Differentiation", 2020, eq. 2 and Algorithm 3. Noel
      Loo et al., "Dataset Distillation with Convexified Implicit Gradients", 2023,
      section 3 and, for the clipping of each leaf, its released code.
    """
    solvers.check_solver(**solver_options._asdict())
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
        return jax.flatten_util.ravel_pytree(curved)[0] + solver_options.damping * flat

    v = _solved(operator, b, solver_options)

    along_v = lambda synthetic: _along(inner_fn, params, unflatten(v), synthetic)
    direct = jax.grad(outer_only, argnums=1, allow_int=True)(params, fixed)
    at_rest, implicit = jax.value_and_grad(along_v, allow_int=True)(fixed)
    followed = along_v(_clipped(synthetic, direct, implicit, solver_options))
    value, aux = outer_fn(params, synthetic), None
    if has_aux:
        value, aux = value
    numbers = (
        _size(b - operator(v)) / solvers.positive_or_one(_size(b)),
        optax.tree.norm(inner_grad),
        _tree_size(direct),
        _tree_size(implicit),
    )
    # The derivative in S of what follows the optimum, and none of its value.
    value = value + _derivative(followed) - _derivative(at_rest)
    return value, Diagnostics(aux, *jax.lax.stop_gradient(numbers))


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


def _solved(
    operator: Callable[[Array], Array], b: Array, options: solvers.SolverOptions
) -> Array:
    """Returns v of the linear system, in the way that was asked for."""
    solve_fn, step_size = solvers.conjugate_gradients, options.step_size
    if options.solver == "neumann" and step_size is not None:  # As was checked.
        solve_fn = functools.partial(solvers.neumann_series, step_size=step_size)
    return solve_fn(operator, b, num_iterations=options.num_iterations)


def _along(
    inner_fn: Callable[[PyTree, PyTree], Array],
    params: PyTree,
    v: PyTree,
    synthetic: PyTree,
) -> Array:
    """``- v^T d_theta inner``, whose derivative in S is the implicit part."""
    return -jax.jvp(lambda p: inner_fn(p, synthetic), (params,), (v,))[1]


def _clipped(
    synthetic: PyTree,
    direct: PyTree,
    implicit: PyTree,
    options: solvers.SolverOptions,
) -> PyTree:
    """S, with a derivative by which no leaf of the implicit part is too long."""
    ratio, norm = options.clip_ratio, options.clip_norm
    if ratio is None and norm is None:
        return synthetic
    clip = lambda d, i: _clip_factor(_size(d), _size(i), ratio, norm)
    factors = jax.tree.map(clip, direct, implicit)
    return jax.tree.map(_scale_derivative, synthetic, factors)


def _derivative(number: Array) -> Array:
    """Zero, with the derivative of the number."""
    return number - jax.lax.stop_gradient(number)


def _size(leaf: Array) -> Array:
    """The norm of a leaf of a gradient; 0 for that of integers."""
    if leaf.dtype == jax.dtypes.float0:
        return jnp.zeros(())
    squared = jnp.sum(jnp.square(leaf))
    is_zero = squared == 0  # Where the root has no derivative.
    return jnp.where(is_zero, 0.0, jnp.sqrt(jnp.where(is_zero, 1.0, squared)))


def _tree_size(tree: PyTree) -> Array:
    sizes = [_size(leaf) for leaf in jax.tree.leaves(tree)]
    return jnp.sqrt(sum((jnp.square(size) for size in sizes), jnp.zeros(())))


def _clip_factor(
    direct: Array, implicit: Array, ratio: float | None, norm: float | None
) -> Array:
    """What the implicit part of one leaf is multiplied with, at most 1."""
    factor, size = jnp.ones_like(implicit), solvers.positive_or_one(implicit)
    if norm is not None:
        factor = jnp.minimum(norm / size, factor)
    if ratio is not None:
        share = jnp.minimum(ratio * direct / size, factor)
        factor = jnp.where(direct > 0, share, factor)
    return factor


def _scale_derivative(leaf: Any, factor: Array) -> Any:
    """The leaf, whose derivative is multiplied with a factor."""
    if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
        return leaf
    still = jnp.asarray(jax.lax.stop_gradient(leaf))
    return still + factor.astype(still.dtype) * (leaf - still)
