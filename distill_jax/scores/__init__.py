# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores: one number for each example, that says how hard it is to a network."""

from distill_jax.scores.ensemble import Scores, rate
from distill_jax.scores.ensemble import train_networks as train_networks
from distill_jax.scores.per_example import (
    SCORES,
    el2n,
    grand,
    input_norm,
    last_layer_grand,
    loss,
    margin,
    misclassified,
)

__all__ = [
    "SCORES",
    "Scores",
    "el2n",
    "grand",
    "input_norm",
    "last_layer_grand",
    "loss",
    "margin",
    "misclassified",
    "rate",
]
