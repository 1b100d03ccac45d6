# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of the types that every module speaks of.

The shape alphabet of all docstrings: ``B`` real batch, ``M`` synthetic examples,
``N`` data set, ``C`` classes, ``D`` features, ``T`` inner steps, ``P`` pool of
networks, ``E`` experts, ``R`` evaluation runs.
"""

from typing import Any, Literal

import jax

__all__ = ["Array", "Key", "PyTree", "Targets"]

Array = jax.Array
Key = jax.Array  # A typed PRNG key, `jax.random.key(seed)`.
PyTree = Any

# What `y` is. "probabilities": rows of the simplex. "centred": FRePo's
# (onehot - 1/C) / sqrt(C/10) and what grows out of it. "values": regression.
Targets = Literal["probabilities", "centred", "values"]
