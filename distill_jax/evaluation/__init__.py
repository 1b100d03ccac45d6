# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Judging: protocols of training, fresh networks, baselines and fairness metrics."""

from distill_jax.evaluation import fairness, protocol
from distill_jax.evaluation.protocol import Protocol
from distill_jax.evaluation.runs import Evaluation, evaluate, measure, train_networks
from distill_jax.evaluation.training import train

__all__ = [
    "Evaluation",
    "Protocol",
    "evaluate",
    "fairness",
    "measure",
    "protocol",
    "train",
    "train_networks",
]
