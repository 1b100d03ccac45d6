# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels: what stands beside an image in place of its class."""

from distill_jax.labels.from_experts import ExpertLabels, epoch_grid, expert_labels

__all__ = ["ExpertLabels", "epoch_grid", "expert_labels"]
