# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Averaging over steps: what is stored is a moving average of what is learned.

    average <- d average + (1 - d) learned,   average_0 = learned_0

There is no correction of a bias, since the average starts at what is learned. Used for
distilled pictures by Du et al., "Minimizing the Accumulated Trajectory Error to Improve
Dataset Distillation", 2023.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, errors
from distill_jax.types import Key, PyTree

__all__ = ["Averaged", "moving_average"]


class Averaged(NamedTuple):
    """The inner state of a method, and the average that is carried beside it."""

    average: dict[str, PyTree]  # as what is learned
    inner: PyTree  # of the method itself


def moving_average(
    method: base.Method, decay: float, *, names: Sequence[str] | None = None
) -> base.Method:
    """Reads an exponential moving average of what a method learns.

    The method itself goes its way unchanged; the average only shows in ``read``.

    Args:
      method: any method.
      decay: ``d``, the share of the old average, from 0 to below 1; about
        ``1 / (1 - d)`` steps are averaged.
      names: which keys of ``Latent.learned`` are averaged; all of them where None. The
        others are read as they are.

    Returns:
      The :class:`~distill_jax.base.Method` whose inner state is an :class:`Averaged`.

    Raises:
      InputError: for a decay out of its range; from ``init``, for a name that is not
        learned.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> recipe = dj.methods.dm(task, num_per_class=1, augmentation="none")
      >>> recipe = recipe._replace(method=moving_average(recipe.method, 0.9))
      >>> state, history = dj.run(recipe, data, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Jiawei Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset
      Distillation", 2023; the released code.
    """
    if not 0 <= decay < 1:
        raise errors.InputError(
            f"`decay` must be at least 0 and below 1, got {decay}; it is the share of "
            "the old average."
        )

    def chosen(learned: dict[str, PyTree]) -> dict[str, PyTree]:
        for name in names or ():
            if name not in learned:
                raise errors.InputError(
                    f'The method does not learn "{name}", so that there is nothing to '
                    f"average. {errors.nearest(name, learned)}"
                )
        return {
            name: learned[name] for name in learned if names is None or name in names
        }

    def init(key: Key, initial: base.Examples) -> base.State:
        state = method.init(key, initial)
        # A copy, because a loop may donate the state, and no buffer twice.
        average = jax.tree.map(jnp.copy, chosen(state.latent.learned))
        return state._replace(inner=Averaged(average, state.inner))

    def step(key: Key, state: base.State, batch: Any) -> tuple[base.State, base.Info]:
        average, inner = state.inner
        state, info = method.step(key, state._replace(inner=inner), batch)
        average: Any = optax.incremental_update(
            chosen(state.latent.learned), average, step_size=1 - decay
        )
        return state._replace(inner=Averaged(average, state.inner)), info

    def read(state: base.State) -> base.Synthetic:
        average, inner = state.inner
        latent = state.latent._replace(learned={**state.latent.learned, **average})
        return method.read(state._replace(latent=latent, inner=inner))

    return base.Method(init=init, step=step, read=read)
