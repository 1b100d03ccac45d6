# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Matching: the mathematics of the papers, one file for each family."""

from distill_jax.objectives.alignment import feature_alignment
from distill_jax.objectives.distances import gradient_distance
from distill_jax.objectives.distribution import distribution_matching
from distill_jax.objectives.gradient import NetworkTraining, gradient_matching
from distill_jax.objectives.kernel import kernel_regression
from distill_jax.objectives.trajectory import trajectory_matching

__all__ = [
    "NetworkTraining",
    "distribution_matching",
    "feature_alignment",
    "gradient_distance",
    "gradient_matching",
    "kernel_regression",
    "trajectory_matching",
]
