# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bending: functions from a decoder, objective or method to one of the same kind."""

from distill_jax.transforms.augmentation import siamese
from distill_jax.transforms.factorised import factorise
from distill_jax.transforms.soft_labels import learn_labels

__all__ = ["factorise", "learn_labels", "siamese"]
