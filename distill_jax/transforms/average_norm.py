# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Clipping gradients at a multiple of the moving average of their norm.

    n_k = min(|g_k|, c a_{k-1}),  a_k = d a_{k-1} + (1 - d) n_k,  g_k <- g_k n_k / |g_k|

Gradients through long trainings are now and then a thousand times as long as usual; the
average of what was let through does not follow them.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax import errors
from distill_jax.types import Array

__all__ = ["clip_by_average_norm"]


class _Average(NamedTuple):
    norm: Array  # [] of what was let through; 0 before the first step


def clip_by_average_norm(
    factor: float = 2.0, decay: float = 0.9, *, is_relative: bool = False
) -> optax.GradientTransformation:
    """An optax transformation that clips at a multiple of the average norm.

    Args:
      factor: c, the multiple, above 1.
      decay: d of the average.
      is_relative: whether what passes is divided by the average, so that an optimiser
        behind sees gradients of the same size when the objective becomes another.

    Returns:
      The transformation; the first gradient passes, one that is not finite becomes 0
      and leaves the average as it is.

    Raises:
      InputError: for a factor of at most 1 or a decay outside [0, 1).

    Example:
      >>> import jax.numpy as jnp
      >>> clip = clip_by_average_norm()
      >>> state = clip.init(jnp.zeros(1))
      >>> for gradient in (1.0, 100.0):
      ...     update, state = clip.update(jnp.array([gradient]), state)
      >>> float(update[0])
      2.0

    Reference:
      Yunzhen Feng, Ramakrishna Vedantam, Julia Kempe, "Embarrassingly Simple Dataset
      Distillation", 2023, section 4.
    """
    if not factor > 1:
        raise errors.InputError(
            f"`factor` must be above 1, got {factor}: at 1 the average can only fall."
        )
    if not 0 <= decay < 1:
        raise errors.InputError(f"`decay` must be from 0 to below 1, got {decay}.")

    def init(params):
        dtype = jnp.result_type(*jax.tree.leaves(params))
        return _Average(jnp.zeros((), dtype))

    def update(updates, state, params=None):
        del params
        norm, is_first = optax.tree.norm(updates), state.norm == 0
        is_finite = jnp.isfinite(norm)
        kept = jnp.where(is_first, norm, jnp.minimum(norm, factor * state.norm))
        average = jnp.where(is_first, kept, decay * state.norm + (1 - decay) * kept)
        share = kept / jnp.where(norm > 0, norm, 1.0)
        if is_relative:
            share = share / jnp.where(average > 0, average, 1.0)
        updates = jax.tree.map(
            lambda leaf: jnp.where(is_finite, share * leaf, 0.0).astype(leaf.dtype),
            updates,
        )
        return updates, _Average(jnp.where(is_finite, average, state.norm))

    return optax.GradientTransformation(init, update)  # pyright: ignore
