# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clipping: pictures stay between black and white.

x <- min(max(x, low), high)  after every step
"""

from collections.abc import Sequence

import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.types import Array

__all__ = ["clip_pixels"]


def clip_pixels(
    method: base.Method, low: Sequence[float], high: Sequence[float]
) -> base.Method:
    """Keeps the learned pictures of a method between two values.

    Args:
      method: one whose latent learns ``x``, ``[..., channels]``.
      low: the lowest value of each channel, as the networks see it.
      high: the highest; see :func:`distill_jax.data.pixel_bounds`.

    Returns:
      The method with pictures clipped at the start and after every step.

    Raises:
      InputError: unless every lowest value is below its highest.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp, optax
      >>> objective = dj.Objective(
      ...     init=lambda key, synthetic: {},
      ...     loss=lambda synthetic, key, inner, batch: (synthetic.x.sum(), dj.Aux()),
      ...     advance=lambda key, inner, synthetic, batch: inner)
      >>> method = dj.distill(
      ...     objective, decoder=dj.plain_decoder(), optimizer=optax.sgd(9.0))
      >>> method = clip_pixels(method, [-1.0], [1.0])
      >>> initial = dj.Examples(x=jnp.zeros((1, 2, 2, 1)), y=jnp.ones((1, 1)))
      >>> state = method.init(jax.random.key(0), initial)
      >>> state, _ = method.step(jax.random.key(1), state, None)
      >>> float(method.read(state).x.min())
      -1.0

    Reference:
      Jang-Hyun Kim et al., "Dataset Condensation via Efficient Synthetic-Data
      Parameterization", 2022 (its released code).
    """
    if not all(a < b for a, b in zip(low, high, strict=True)):
        raise errors.InputError(
            f"The lowest values {list(low)} of the pictures must be below the highest "
            f"{list(high)}."
        )

    def clip(state: base.State) -> base.State:
        x: Array = state.latent.learned["x"]
        shape = (1,) * (x.ndim - 1) + (-1,)
        bounds = [jnp.asarray(value, x.dtype).reshape(shape) for value in (low, high)]
        learned = {**state.latent.learned, "x": jnp.clip(x, *bounds)}
        return state._replace(latent=state.latent._replace(learned=learned))

    def init(key, initial):
        return clip(method.init(key, initial))

    def step(key, state, batch):
        state, info = method.step(key, state, batch)
        return clip(state), info

    return method._replace(init=init, step=step)
