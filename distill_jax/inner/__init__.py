# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learning: what happens inside one outer step, and what networks see."""

from distill_jax.inner import (
    augment,
    descent,
    dynamic,
    epochs,
    experts,
    implicit,
    learn,
    mixing,
    ntk,
    pool,
    ridge,
    sharpness,
    unroll,
)

__all__ = [
    "augment",
    "descent",
    "dynamic",
    "epochs",
    "experts",
    "implicit",
    "learn",
    "mixing",
    "ntk",
    "pool",
    "ridge",
    "sharpness",
    "unroll",
]
