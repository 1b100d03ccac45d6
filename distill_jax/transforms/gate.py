# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""A gate: steps whose loss is too large, or not a number, change nothing learned.

latent, optimiser <- new ones if L <= threshold and everything new is finite, else old

L is the loss before anything was added to it by :func:`~distill_jax.transforms.bend`.
"""

from typing import Any

import jax
import jax.numpy as jnp

from distill_jax import base, errors
from distill_jax.types import Key

__all__ = ["gate_steps"]


def gate_steps(method: base.Method, threshold: float = float("inf")) -> base.Method:
    """Refuses steps of a method that would do harm.

    The inner state and the count of steps move on, so that the next step draws anew.

    Args:
      method: any method.
      threshold: the largest loss that is learned from; by default any finite one. Where
        the method logs a ``matching_loss``, as one with a bent objective does, that is
        compared, and not what was added to it.

    Returns:
      The :class:`~distill_jax.base.Method`. The metric ``is_refused`` is 1 in a step
      that was refused, else 0. A loss that is not finite is told as the threshold (or
      as the largest number), so that a run goes on; :func:`distill_jax.run` counts the
      refused steps, and ends where there are no others any more.

    Raises:
      InputError: for a threshold that is not positive.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> import distill_jax as dj
      >>> objective = dj.Objective(
      ...     init=lambda key, synthetic: {},
      ...     loss=lambda synthetic, key, inner, batch: (
      ...         jnp.sum(jnp.sqrt(synthetic.x - 3.0)), dj.Aux()),
      ...     advance=lambda key, inner, synthetic, batch: inner)
      >>> method = gate_steps(dj.distill(
      ...     objective, decoder=dj.plain_decoder(), optimizer=optax.sgd(1.0)))
      >>> initial = dj.Examples(x=jnp.zeros((2, 1)), y=jnp.eye(2))
      >>> state = method.init(jax.random.key(0), initial)
      >>> state, info = method.step(jax.random.key(1), state, None)
      >>> method.read(state).x.ravel().tolist(), float(info.metrics["is_refused"])
      ([0.0, 0.0], 1.0)

    Reference:
      Ziyao Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned
      Trajectory Matching", 2024; the released code, with a threshold of 1.
    """
    if not threshold > 0:
        raise errors.InputError(
            f"The threshold of the loss must be positive, got {threshold}."
        )

    def step(key: Key, state: base.State, batch: Any) -> tuple[base.State, base.Info]:
        new, info = method.step(key, state, batch)
        matching = info.metrics.get("matching_loss", info.loss)
        is_good = jnp.isfinite(info.loss) & (matching <= threshold)
        for leaf in jax.tree.leaves((new.latent.learned, new.opt)):
            if jnp.issubdtype(leaf.dtype, jnp.inexact):
                is_good &= jnp.isfinite(leaf).all()
        choose = lambda new, old: jnp.where(is_good, new, old)
        state = new._replace(
            latent=jax.tree.map(choose, new.latent, state.latent),
            opt=jax.tree.map(choose, new.opt, state.opt),
        )
        largest = min(threshold, float(jnp.finfo(info.loss.dtype).max))
        loss = jnp.where(jnp.isfinite(info.loss), info.loss, largest)
        refused = {"is_refused": 1.0 - is_good.astype(info.loss.dtype)}
        return state, base.Info(loss, {**info.metrics, **refused})

    return base.Method(init=method.init, step=step, read=method.read)
