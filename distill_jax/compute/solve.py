# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Linear systems with a positive definite matrix, one at a time on the CPU.

    z = A^{-1} b,     dz = A^{-1} (db - dA z)

jaxlib splits a batched LAPACK call over the threads of XLA's own pool and waits there
for them; where every thread of the pool waits, the process waits for ever. So on the
CPU LAPACK never sees a batch: under ``vmap`` systems are solved one after the other,
those of derivatives too. Accelerators solve a batch at once.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.scipy as jsp

from distill_jax.types import Array

__all__ = ["solve_positive"]


def solve_positive(matrix: Array, right: Array) -> Array:
    """Solves ``matrix z = right`` by the Cholesky factor of the matrix.

    Args:
      matrix: ``[M, M]``, symmetric and positive definite; where it is not, the result
        is NaN.
      right: ``[M, C]``.

    Returns:
      ``z`` ``[M, C]``; differentiable forwards, backwards and repeatedly. The matrix is
      factorised once for all of that.

    Example:
      >>> import jax.numpy as jnp
      >>> z = solve_positive(jnp.diag(jnp.array([4.0, 16.0])), jnp.ones((2, 1)))
      >>> print(z.round(4))
      [[0.25  ]
       [0.0625]]
    """
    factor = _one_by_one(_factorise)(jax.lax.stop_gradient(matrix))
    substitute = _one_by_one(_substitute)
    return jax.lax.custom_linear_solve(
        lambda z: jnp.matmul(matrix, z, precision=jax.lax.Precision.HIGHEST),
        right,
        lambda _, b: substitute(factor, b),
        symmetric=True,
    )


def _factorise(matrix: Array) -> Array:
    factor, _ = jsp.linalg.cho_factor(matrix, lower=True)
    return factor


def _substitute(factor: Array, right: Array) -> Array:
    return jsp.linalg.cho_solve((factor, True), right)


def _one_by_one(fn: Callable[..., Array]) -> Callable[..., Array]:
    """The function as ``vmap`` takes it: in turn on the CPU, at once elsewhere."""
    is_cpu = jax.default_backend() == "cpu"
    return jax.custom_batching.sequential_vmap(fn) if is_cpu else fn
