# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Training of networks: the loop, its steps, mini-batches, pools."""

from distill_jax.training import (
    dynamic,
    gradient_step,
    loop,
    minibatches,
    pool,
    sharpness,
)

__all__ = [
    "dynamic",
    "gradient_step",
    "loop",
    "minibatches",
    "pool",
    "sharpness",
]
