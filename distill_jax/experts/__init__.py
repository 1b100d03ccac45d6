# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Experts: networks trained on the real data, alone or in buffers on disk.

One record, :class:`Training`, says how an expert is trained. Epoch e means e completed
epochs. The files of a buffer are checked, then mapped into memory; each is written
whole or not at all, so that a buffer that was interrupted goes on with the next expert.
"""

from distill_jax.experts.appraisal import Appraisal, appraise, label_entropy
from distill_jax.experts.folders import kept_in
from distill_jax.experts.making import make_buffer, random_buffer, seconds_of
from distill_jax.experts.plan import ExpertPlan, Training
from distill_jax.experts.snapshots import (
    Buffer,
    OnDisk,
    Trajectories,
    check_is_trajectory,
    unflatten,
)
from distill_jax.experts.training import (
    at_epoch,
    train_expert,
    train_experts,
    train_learner,
    train_learners,
)

__all__ = [
    "Appraisal",
    "Buffer",
    "ExpertPlan",
    "OnDisk",
    "Training",
    "Trajectories",
    "appraise",
    "at_epoch",
    "check_is_trajectory",
    "kept_in",
    "label_entropy",
    "make_buffer",
    "random_buffer",
    "seconds_of",
    "train_expert",
    "train_experts",
    "train_learner",
    "train_learners",
    "unflatten",
]
