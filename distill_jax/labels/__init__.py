# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Labels: what stands beside an image in place of its class."""

from distill_jax.labels import metrics, transforms
from distill_jax.labels.comparison import Comparison, compare
from distill_jax.labels.from_experts import ExpertLabels, epoch_grid, expert_labels
from distill_jax.labels.logits import ensemble_logits, from_logits, sharpen
from distill_jax.labels.metrics import entropy
from distill_jax.labels.ranks import shuffle_non_top, swap_rank, top_k
from distill_jax.labels.teachers import (
    from_teacher,
    image_digests,
    read_logits,
    teacher_logits,
    write_logits,
)

__all__ = [
    "Comparison",
    "ExpertLabels",
    "compare",
    "ensemble_logits",
    "entropy",
    "epoch_grid",
    "expert_labels",
    "from_logits",
    "from_teacher",
    "image_digests",
    "metrics",
    "read_logits",
    "sharpen",
    "shuffle_non_top",
    "swap_rank",
    "teacher_logits",
    "top_k",
    "transforms",
    "write_logits",
]
