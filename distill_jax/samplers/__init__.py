# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Feeding: pure functions ``(key, step, source) -> batch``, called inside jit."""

from distill_jax.samplers.classwise import per_class
from distill_jax.samplers.contexts import in_contexts
from distill_jax.samplers.paired import pair
from distill_jax.samplers.segments import segment_window, trajectory_segments
from distill_jax.samplers.whole import uniform

__all__ = [
    "in_contexts",
    "pair",
    "per_class",
    "segment_window",
    "trajectory_segments",
    "uniform",
]
