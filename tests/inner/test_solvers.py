# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Conjugate gradients are differentiable, whether they have converged or not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

from distill_jax.inner import solvers

RANK, SIZE = 8, 44


def system(dtype):
    """A matrix of nine different eigenvalues, and two right sides."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(RANK, SIZE))
    matrix = factor.T @ factor / 10 + 0.2 * np.eye(SIZE)
    return (
        jnp.asarray(leaf, dtype)
        for leaf in (matrix, rng.normal(size=SIZE), rng.normal(size=SIZE))
    )


def along(matrix, cotangent, b, num_iterations):
    v = solvers.conjugate_gradients(
        lambda v: matrix @ v, b, num_iterations=num_iterations
    )
    return cotangent @ v


@pytest.mark.parametrize("num_iterations", [9, 12, 40, 80])
@pytest.mark.parametrize("bits", [32, 64])
def test_the_derivative_is_right_after_they_converged(bits, num_iterations, x64):
    dtype = f"float{bits}"
    matrix, b, cotangent = system(dtype)
    grad_fn = jax.jit(jax.grad(along, argnums=2), static_argnums=3)
    found = grad_fn(matrix, cotangent, b, num_iterations)
    expected = np.linalg.solve(np.asarray(matrix, float), np.asarray(cotangent, float))
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected, atol={32: 1e-4, 64: 1e-11}[bits])


def test_the_derivative_of_few_iterations_is_that_of_what_they_reach(x64):
    matrix, b, cotangent = system(float)
    few = functools.partial(along, cotangent=cotangent, num_iterations=4)
    test_util.check_grads(lambda b, matrix: few(matrix, b=b), (b, matrix), 1, rtol=1e-5)
    exact = np.linalg.solve(matrix, cotangent)
    assert np.abs(jax.grad(lambda b: few(matrix, b=b))(b) - exact).max() > 1e-3
