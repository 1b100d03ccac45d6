# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Expert buffers: the parameters of many experts after every epoch, on disk.

Epoch e means e completed epochs. Files are checked, then mapped into memory; each is
written whole or not at all, so that a buffer that was interrupted goes on with the next
expert.
"""

from distill_jax.experts.making import make_buffer, random_buffer
from distill_jax.experts.plan import ExpertPlan
from distill_jax.experts.snapshots import Buffer, OnDisk, Trajectories, unflatten

__all__ = [
    "Buffer",
    "ExpertPlan",
    "OnDisk",
    "Trajectories",
    "make_buffer",
    "random_buffer",
    "unflatten",
]
