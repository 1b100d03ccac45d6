# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is differentiated through: unrolled training, optima, ridge regression."""

from distill_jax.inner import (
    hypergradient,
    ntk,
    optimizers,
    rematerialisation,
    ridge,
    solvers,
    unroll,
)

__all__ = [
    "hypergradient",
    "ntk",
    "optimizers",
    "rematerialisation",
    "ridge",
    "solvers",
    "unroll",
]
