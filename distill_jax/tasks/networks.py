# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Untrained learners: a context is drawn first, then a network for it.

context ~ task.sample_context,    theta ~ task.init( . , context)
"""

import jax
import jax.numpy as jnp

from distill_jax import base, deprecations, errors
from distill_jax.types import Key

__all__ = [
    "as_learner",
    "init_learner",
    "init_network",
    "network_shapes",
    "stack_learners",
]


def as_learner(network: base.Learner | base.Variables) -> base.Learner:
    """Makes a learner of a network that has no context.

    Args:
      network: variables, or a learner, which is returned as it is.

    Example:
      >>> variables = base.Variables(params=1, stats={})
      >>> as_learner(variables)
      Learner(variables=Variables(params=1, stats={}), context=None)
    """
    return network if isinstance(network, base.Learner) else base.Learner(network)


def init_learner(task: base.Task, key: Key | tuple[Key, Key]) -> base.Learner:
    """Draws a context and an untrained network for it.

    Args:
      task: gives both.
      key: is split in two, the first half for the context; or the two halves.

    Returns:
      A :class:`~distill_jax.base.Learner`. ``jax.vmap`` over keys gives many.

    Example:
      >>> import distill_jax as dj, jax
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> learner = dj.tasks.init_learner(task, jax.random.key(0))
      >>> learner.variables.params["dense0"]["kernel"].shape
      (64, 8)
      >>> print(learner.context)  # Images have none.
      None
    """
    key_context, key_net = key if isinstance(key, tuple) else jax.random.split(key)
    context = task.sample_context(key_context)
    return base.Learner(task.init(key_net, context), context)


def init_network(task: base.Task, key: Key) -> base.Variables:
    """Draws what :func:`init_learner` draws, and forgets the context."""
    deprecations.warn("tasks.init_network", "tasks.init_learner(...).variables")
    return init_learner(task, key).variables


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
    shapes = jax.eval_shape(lambda key: init_learner(task, key), jax.random.key(0))
    return shapes.variables


def stack_learners(*networks: base.Learner | base.Variables) -> base.Learner:
    """Puts networks one above the other, with their contexts.

    Args:
      *networks: learners, or the variables of networks without contexts.

    Returns:
      A :class:`~distill_jax.base.Learner` with a leading axis in each leaf.

    Raises:
      InputError: without a network.

    Example:
      >>> from distill_jax import base
      >>> import jax.numpy as jnp
      >>> one, two = (base.Variables(jnp.full(2, n), {}) for n in (1.0, 2.0))
      >>> stack_learners(one, two).variables.params.tolist()
      [[1.0, 1.0], [2.0, 2.0]]
    """
    if not networks:
        raise errors.InputError("There must be at least one network, got none.")
    stack = lambda *leaves: jnp.stack(leaves)
    return jax.tree.map(stack, *map(as_learner, networks))
