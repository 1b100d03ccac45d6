# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels: what stands beside an image in place of its class."""

from distill_jax.labels import metrics, transforms
from distill_jax.labels.comparison import Comparison, compare
from distill_jax.labels.from_experts import ExpertLabels, epoch_grid, expert_labels
from distill_jax.labels.logits import ensemble_logits, from_logits, sharpen
from distill_jax.labels.metrics import entropy
from distill_jax.labels.ranks import shuffle_non_top, swap_rank, top_k

__all__ = [
    "Comparison",
    "ExpertLabels",
    "compare",
    "ensemble_logits",
    "entropy",
    "epoch_grid",
    "expert_labels",
    "from_logits",
    "metrics",
    "sharpen",
    "shuffle_non_top",
    "swap_rank",
    "top_k",
    "transforms",
]
