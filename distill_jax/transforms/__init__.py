# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bending: functions from a decoder, objective or method to one of the same kind."""

from distill_jax.transforms.augmentation import siamese
from distill_jax.transforms.factorised import factorised
from distill_jax.transforms.soft_labels import soft_labels

__all__ = ["factorised", "siamese", "soft_labels"]
