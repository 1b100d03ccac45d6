# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Judging: protocols of training, fresh networks, baselines and fairness metrics."""

from distill_jax.evaluation import fairness, protocol, scaling
from distill_jax.evaluation.baselines import arm_names, arms, synthetic_arm
from distill_jax.evaluation.comparison import Arm, RunOptions
from distill_jax.evaluation.cross_architecture import Transfer, transfer
from distill_jax.evaluation.grid import Grid, evaluate_grid
from distill_jax.evaluation.kernel_ridge import kernel_ridge_accuracy
from distill_jax.evaluation.label_choice import (
    ChoiceOptions,
    LabelChoice,
    LabelRow,
    choose_labels,
)
from distill_jax.evaluation.labelled_arms import LABEL_ARMS, LabelTable, label_arms
from distill_jax.evaluation.optimizers import make_optimizer, make_schedule
from distill_jax.evaluation.protocol import Protocol
from distill_jax.evaluation.results import Evaluation, interval, interval_of_fraction
from distill_jax.evaluation.runs import evaluate, measure, train_networks
from distill_jax.evaluation.soft_label_arm import ExpertSettings as ExpertSettings
from distill_jax.evaluation.soft_label_arm import usual_expert
from distill_jax.evaluation.stored import protocol_of, to_synthetic
from distill_jax.evaluation.training import train

__all__ = [
    "LABEL_ARMS",
    "Arm",
    "ChoiceOptions",
    "Evaluation",
    "Grid",
    "LabelChoice",
    "LabelRow",
    "LabelTable",
    "Protocol",
    "RunOptions",
    "Transfer",
    "arm_names",
    "arms",
    "choose_labels",
    "evaluate",
    "evaluate_grid",
    "fairness",
    "interval",
    "interval_of_fraction",
    "kernel_ridge_accuracy",
    "label_arms",
    "make_optimizer",
    "make_schedule",
    "measure",
    "protocol",
    "protocol_of",
    "scaling",
    "synthetic_arm",
    "to_synthetic",
    "train",
    "train_networks",
    "transfer",
    "usual_expert",
]
