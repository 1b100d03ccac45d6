# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradients of a network's mean loss, for each class or each example.

g(A_c) = d/dtheta  sum_b w_cb loss(theta; A_cb) / sum_b w_cb
"""

from typing import Any

import jax
import jax.numpy as jnp

from distill_jax import base, tasks
from distill_jax.compute import blocks, rows
from distill_jax.types import Array, Key, PyTree

__all__ = ["mean_over_classes", "of_classes", "of_examples", "settle"]

# Real examples of each class from which batch norm takes its statistics.
_NUM_FOR_STATISTICS = 16


def of_classes(
    task: base.Task,
    key: Key,
    variables: base.Variables,
    examples: base.Examples,
    context: Any = None,
) -> PyTree:
    """The gradient of the mean loss of each class.

    Args:
      task: gives the loss of each example.
      key: what the task draws from.
      variables: of one network; its statistics are those of :func:`settle`.
      examples: ``[C, B, ...]``.
      context: of the task that the network learns.

    Returns:
      A tree like ``variables.params`` with a leading axis ``C``.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> variables = task.init(jax.random.key(0), None)
      >>> x, y = jnp.ones((10, 3, 8, 8, 1)), jnp.eye(10)[:, None].repeat(3, axis=1)
      >>> grads = of_classes(
      ...     task, jax.random.key(1), variables, dj.Examples(x, y))
      >>> grads["dense0"]["kernel"].shape
      (10, 64, 8)
    """

    def of_block(number, block):
        key_block = jax.random.fold_in(key, number)
        return _gradient(task, key_block, variables, block, context)

    return blocks.class_sums(of_block, jax.vmap(blocks.shares)(examples))


def of_examples(
    task: base.Task,
    synthetic: base.Synthetic,
    key: Key,
    variables: base.Variables,
    context: Any = None,
) -> PyTree:
    """The gradient of the loss of every single example.

    Args:
      task: gives the loss of each example.
      synthetic: M examples; their weights do not count.
      key: what the task draws from, the same for all of them.
      variables: of one network.
      context: of the task that it learns.

    Returns:
      A tree like ``variables.params`` with a leading axis ``M``.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> variables = task.init(jax.random.key(0), None)
      >>> synthetic = dj.Synthetic(jnp.ones((3, 8, 8, 1)), jnp.eye(10)[:3])
      >>> grads = of_examples(task, synthetic, jax.random.key(1), variables)
      >>> grads["dense0"]["kernel"].shape
      (3, 64, 8)
    """

    def one(example):
        alone = jax.tree.map(lambda leaf: leaf[None], example)
        alone = alone._replace(weight=jnp.ones(1, alone.y.dtype))
        return _gradient(task, key, variables, alone, context)

    return jax.vmap(one)(rows.examples_of(synthetic)._replace(weight=None))


def mean_over_classes(gradients: PyTree, weight: Array | None) -> PyTree:
    """The mean of class gradients by the weight of each class.

    Args:
      gradients: leaves ``[C, ...]``.
      weight: ``[C, B]`` of the examples, or None for equal weights.

    Returns:
      The tree without its leading axis.

    Example:
      >>> mean_over_classes(jnp.array([1.0, 5.0]), jnp.array([[3.0], [1.0]])).tolist()
      2.0
    """
    if weight is None:
        return jax.tree.map(lambda leaf: leaf.mean(axis=0), gradients)
    mass = weight.sum(axis=1)
    share = mass / jnp.where(mass.sum() > 0, mass.sum(), 1.0)
    return jax.tree.map(lambda leaf: jnp.tensordot(share, leaf, 1), gradients)


def settle(
    task: base.Task,
    key: Key,
    variables: base.Variables,
    real: base.Examples,
    context: Any = None,
) -> base.Variables:
    """Moves statistics of batch norm by some real examples of every class.

    Args:
      task: gives the statistics.
      key: what the task draws from.
      variables: of one network; returned as they are without statistics.
      real: ``[C, B, ...]``.
      context: of the task that the network learns.

    Example:
      >>> variables = base.Variables({"w": jnp.ones(2)}, {})
      >>> settle(None, None, variables, None) is variables
      True
    """
    if not variables.stats:
        return variables
    take = lambda leaf: leaf[:, :_NUM_FOR_STATISTICS].reshape(-1, *leaf.shape[2:])
    some = jax.tree.map(take, real)._replace(weight=None)
    return variables._replace(stats=task.train_loss(variables, key, some, context)[1])


def _gradient(
    task: base.Task,
    key: Key,
    variables: base.Variables,
    examples: base.Examples,
    context: Any,
) -> PyTree:
    """The gradient in the parameters of the sum of weighted losses."""

    def loss_fn(params):
        network = base.Variables(params, variables.stats)
        if variables.stats:  # Batch norm with settled statistics.
            losses = tasks.inference_loss(task, network, key, examples, context)
        else:
            losses, _ = task.train_loss(network, key, examples, context)
        return jnp.sum(jnp.asarray(examples.weight) * losses)

    return jax.grad(loss_fn)(variables.params)
