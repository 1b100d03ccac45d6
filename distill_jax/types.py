# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Names of the types that every module speaks of.

The shape alphabet of all docstrings: ``B`` real batch, ``M`` synthetic examples,
``N`` data set, ``C`` classes, ``D`` features, ``T`` inner steps, ``P`` pool of
networks, ``E`` experts, ``R`` evaluation runs.
"""

import dataclasses
from typing import Any, Literal

import jax

__all__ = ["Array", "Key", "Metric", "PyTree", "Targets"]

Array = jax.Array
Key = jax.Array  # A typed PRNG key, `jax.random.key(seed)`.
PyTree = Any

# What `y` is. "probabilities": rows of the simplex. "centred": FRePo's
# (onehot - 1/C) / sqrt(C/10) and what grows out of it. "values": regression.
Targets = Literal["probabilities", "centred", "values"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A number that a network is judged by, as those who tell it must know it.

    Attributes:
      name: one word, such as ``"accuracy"`` or ``"squared_error"``.
      is_higher_better: its direction.
      is_fraction: whether it lies between 0 and 1 and is shown in percent.
      worst: what an example counts for which a network gives no finite output; None
        where nothing finite is bad enough, so that such a network has no score.

    Example:
      >>> Metric("squared_error", is_higher_better=False).worst is None
      True
    """

    name: str
    is_higher_better: bool = True
    is_fraction: bool = False
    worst: float | None = None
