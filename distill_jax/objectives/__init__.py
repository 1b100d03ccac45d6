# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Matching: the mathematics of the papers, one file for each family."""

from distill_jax.objectives.distribution import distribution_matching
from distill_jax.objectives.kernel import kernel_regression

__all__ = ["distribution_matching", "kernel_regression"]
