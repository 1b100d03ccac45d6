# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A stored set as what a learner takes."""

import jax.numpy as jnp

from distill_jax import base
from distill_jax.storage import distilled

__all__ = ["to_synthetic"]


def to_synthetic(stored: distilled.DistilledSet) -> base.Synthetic:
    """Puts the arrays of a stored set on the device, as a learner takes them.

    Args:
      stored: a distilled set.

    Returns:
      A :class:`~distill_jax.base.Synthetic`.

    Example:
      >>> import numpy as np
      >>> stored = distilled.DistilledSet(x=np.zeros((2, 3)), y=np.eye(2))
      >>> to_synthetic(stored).x.shape
      (2, 3)
    """
    put = lambda value: None if value is None else jnp.asarray(value)
    return base.Synthetic(
        x=jnp.asarray(stored.x),
        y=jnp.asarray(stored.y),
        weight=put(stored.weight),
        learning_rate=put(stored.learning_rate),
    )
