# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Selection: which real examples are used, as positions in the training split."""

from distill_jax.selection.bands import by_score
from distill_jax.selection.stratified import random_subsets

__all__ = ["by_score", "random_subsets"]
