# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Fresh networks of a task: the context is drawn first, then weights for it.

    context ~ task.sample_context,    theta ~ task.init( . , context)

Where a training or an evaluation needs the context too it draws both itself.
"""

import jax

from distill_jax import base
from distill_jax.types import Key

__all__ = ["init_network", "network_shapes"]


def init_network(task: base.Task, key: Key) -> base.Variables:
    """Draws a context and an untrained network for it.

    Args:
      task: gives both.
      key: is split in two, the first half for the context.

    Returns:
      The variables of one network. ``jax.vmap`` over keys gives many.

    Example:
      >>> import distill_jax as dj, jax
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> variables = dj.tasks.init_network(task, jax.random.key(0))
      >>> variables.params["dense0"]["kernel"].shape
      (64, 8)
    """
    key_context, key_net = jax.random.split(key)
    return task.init(key_net, task.sample_context(key_context))


def network_shapes(task: base.Task) -> base.Variables:
    """Tells the shapes of the variables of a network, without drawing one.

    Args:
      task: gives the network.

    Returns:
      A tree of :class:`jax.ShapeDtypeStruct`.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> dj.tasks.network_shapes(task).params["dense0"]["kernel"].shape
      (64, 8)
    """
    return jax.eval_shape(lambda key: init_network(task, key), jax.random.key(0))
