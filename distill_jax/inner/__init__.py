# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is differentiated through: unrolled training, optima, ridge regression."""

from distill_jax.inner import (
    descent,
    dynamic,
    epochs,
    experts,
    implicit,
    learn,
    ntk,
    pool,
    ridge,
    sharpness,
    unroll,
)

__all__ = [
    "descent",
    "dynamic",
    "epochs",
    "experts",
    "implicit",
    "learn",
    "ntk",
    "pool",
    "ridge",
    "sharpness",
    "unroll",
]
