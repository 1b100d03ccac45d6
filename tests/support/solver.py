# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A hundred gradients of 48 stacked systems of 100 x 100, for `test_solve.py`."""

import jax
import jax.numpy as jnp

from distill_jax.compute import solve


@jax.jit
@jax.grad
def gradient(features):
    matrices = features @ features.mT + jnp.eye(100)
    solutions = jax.vmap(solve.solve_positive)(matrices, features)
    return (solutions**2).sum()


def main() -> None:
    jax.config.update("jax_enable_x64", True)
    features = jax.random.normal(jax.random.key(0), (48, 100, 100))
    for _ in range(100):
        features = features - 1e-3 * gradient(features)
    assert jnp.isfinite(features).all()


if __name__ == "__main__":
    main()
