# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Augmentation: what networks see of an example, drawn at random and applied."""

from distill_jax.augmentation import (
    drawing,
    images,
    mixing,
    operations,
    policies,
    resampling,
)

__all__ = [
    "drawing",
    "images",
    "mixing",
    "operations",
    "policies",
    "resampling",
]
