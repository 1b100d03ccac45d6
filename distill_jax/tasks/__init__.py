# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tasks: how a learner trains on data, how it is judged, and how data are grouped."""

from distill_jax.tasks.classifying import classification
from distill_jax.tasks.judging import is_right, metrics_of, predict_held_out
from distill_jax.tasks.losses import encode, encode_batch, inference_loss
from distill_jax.tasks.networks import (
    as_learner,
    init_learner,
    init_network,
    network_shapes,
    stack_learners,
)
from distill_jax.tasks.regressing import regression

__all__ = [
    "as_learner",
    "classification",
    "encode",
    "encode_batch",
    "inference_loss",
    "init_learner",
    "init_network",
    "is_right",
    "metrics_of",
    "network_shapes",
    "predict_held_out",
    "regression",
    "stack_learners",
]
