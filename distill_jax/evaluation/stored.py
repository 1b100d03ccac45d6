# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A stored set as what a learner takes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.storage import distilled

__all__ = ["protocol_of", "to_synthetic"]


def to_synthetic(stored: distilled.DistilledSet) -> base.Synthetic:
    """Puts the arrays of a stored set on the device, as a learner takes them.

    Args:
      stored: a distilled set.

    Returns:
      A :class:`~distill_jax.base.Synthetic` with all that belongs to the rows. Arrays
      in half precision become float32, and float64 is kept where JAX has it enabled.

    Example:
      >>> stored = distilled.DistilledSet(x=np.zeros((2, 3)), y=np.eye(2))
      >>> to_synthetic(stored).x.shape
      (2, 3)
    """

    def put(array: np.ndarray) -> Any:
        is_half = array.dtype == np.float16
        return jnp.asarray(array, jnp.float32 if is_half else None)

    names = ("x", "y", "weight", "target")
    fields = {name: jax.tree.map(put, getattr(stored, name)) for name in names}
    rate = stored.learning_rate
    fields["learning_rate"] = None if rate is None else jnp.asarray(rate)
    return base.Synthetic(**fields)


def protocol_of(
    stored: distilled.DistilledSet, **changes: Any
) -> protocol_lib.Protocol:
    """Reads how a network is trained on a stored set, and what its labels are.

    Args:
      stored: a set whose recipe has a protocol.
      **changes: fields of the protocol with other values.

    Returns:
      A :class:`~distill_jax.evaluation.Protocol`; the mass of the labels is that of
      the set.

    Raises:
      InputError: when the recipe has no protocol.

    Example:
      >>> recipe = {"protocol": {"num_steps": 5}}
      >>> stored = distilled.DistilledSet(
      ...     np.zeros((2, 3)), 2 * np.eye(2), label_mass="free", recipe=recipe)
      >>> protocol_of(stored, learning_rate=0.1).label_mass
      'free'
    """
    fields = stored.recipe.get("protocol")
    if fields is None:
        raise errors.InputError(
            "The distilled set does not say how a network is trained on it (it was "
            "merged, or made by hand); make a `Protocol` of your own."
        )
    mass = {"label_mass": stored.label_mass}
    return protocol_lib.Protocol(**{**fields, **mass, **changes})
