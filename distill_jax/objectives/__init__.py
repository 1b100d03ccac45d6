# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Matching: the mathematics of the papers, one file for each family."""

from distill_jax.objectives.alignment import feature_alignment
from distill_jax.objectives.distances import gradient_distance
from distill_jax.objectives.distribution import class_means, distribution_matching
from distill_jax.objectives.gradient import NetworkTraining, gradient_matching
from distill_jax.objectives.implicit import implicit_bilevel
from distill_jax.objectives.inducing import kernel_inducing_points
from distill_jax.objectives.kernel import MemberTraining, kernel_regression
from distill_jax.objectives.ridge_head import ridge_classification
from distill_jax.objectives.ridge_terms import (
    KernelTerms,
    kernel_terms,
    label_margin,
)
from distill_jax.objectives.stages import in_stages
from distill_jax.objectives.trajectory import trajectory_matching
from distill_jax.objectives.unrolled import unrolled_training
from distill_jax.objectives.windows import Forward, Windows

__all__ = [
    "Forward",
    "KernelTerms",
    "MemberTraining",
    "NetworkTraining",
    "Windows",
    "class_means",
    "distribution_matching",
    "feature_alignment",
    "gradient_distance",
    "gradient_matching",
    "implicit_bilevel",
    "in_stages",
    "kernel_inducing_points",
    "kernel_regression",
    "kernel_terms",
    "label_margin",
    "ridge_classification",
    "trajectory_matching",
    "unrolled_training",
]
