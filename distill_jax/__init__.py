# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Dataset distillation in JAX: shrink a training set to a few examples that teach."""
