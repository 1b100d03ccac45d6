# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Keeps learned labels on the simplex: an optax transformation behind the optimiser.

    y <- c / sum c,   c = min(max(y + u, 0), 1)

u is the update of the optimiser before it.
"""

import jax
import jax.numpy as jnp
import optax

from distill_jax import errors
from distill_jax.labels import mass

__all__ = ["keep_on_simplex"]


def keep_on_simplex() -> optax.GradientTransformation:
    """An optax transformation after which every row is a distribution.

    Returns:
      The transformation, for the end of a chain. A row of which nothing is left becomes
      uniform.

    Raises:
      InputError: from ``update``, when it is not given the parameters.

    Example:
      >>> import jax.numpy as jnp
      >>> y = jnp.array([[0.5, 0.5]])
      >>> keep = keep_on_simplex()
      >>> update, _ = keep.update(jnp.array([[1.0, -0.25]]), keep.init(y), y)
      >>> print((y + update).round(3))
      [[0.8 0.2]]

    Reference:
      Ondrej Bohdal, Yongxin Yang, Timothy Hospedales, "Flexible Dataset Distillation:
      Learn Labels Instead of Images", 2020, algorithm 2.
    """

    def update(updates, state, params=None):
        if params is None:
            raise errors.InputError(
                "`keep_on_simplex` needs the parameters beside the updates; call "
                "`update(updates, state, params)`."
            )

        def projected(label, step):
            clipped = jnp.clip(label + step, 0, 1)
            return mass.normalize(clipped) - label

        return jax.tree.map(projected, params, updates), state

    return optax.GradientTransformation(
        lambda params: optax.EmptyState(),
        update,  # pyright: ignore
    )
