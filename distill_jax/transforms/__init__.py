# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Bending: functions from a decoder, objective or method to one of the same kind."""

from distill_jax.transforms.augmentation import siamese
from distill_jax.transforms.average_norm import clip_by_average_norm
from distill_jax.transforms.bending import bend, wants
from distill_jax.transforms.clip import clip_pixels
from distill_jax.transforms.ema import moving_average
from distill_jax.transforms.factorised import factorise
from distill_jax.transforms.fixed_inputs import fix_inputs
from distill_jax.transforms.gate import gate_steps
from distill_jax.transforms.learned_rate import learn_rate
from distill_jax.transforms.learned_temperature import learn_temperature
from distill_jax.transforms.simplex import keep_on_simplex
from distill_jax.transforms.soft_labels import learn_labels
from distill_jax.transforms.weighting import weigh_real

__all__ = [
    "bend",
    "clip_by_average_norm",
    "clip_pixels",
    "factorise",
    "fix_inputs",
    "gate_steps",
    "keep_on_simplex",
    "learn_labels",
    "learn_rate",
    "learn_temperature",
    "moving_average",
    "siamese",
    "wants",
    "weigh_real",
]
