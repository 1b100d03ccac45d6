# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""One step of training: a gradient, taken as a processor's caches like it.

    g = d/d theta  sum_b w_b loss(theta, x_b, y_b) / sum_b w_b

It is a sum over examples unless statistics of the batch join them, so that some can be
taken at a time, shared by devices, and taken again by a derivative of g that keeps
nothing of them.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from distill_jax import base
from distill_jax.compute import blocks, parallel, rows
from distill_jax.training import sharpness as sharpness_lib
from distill_jax.types import Array, Key, PyTree

__all__ = ["descend", "gradient", "weighted_mean"]


def descend(
    key: Key,
    variables: base.Variables,
    opt: optax.OptState,
    task: base.Task,
    batch: Any,
    *,
    optimizer: optax.GradientTransformation,
    context: Any = None,
    sharpness: sharpness_lib.Sharpness | None = None,
) -> tuple[base.Variables, optax.OptState]:
    """One step of an optimiser down the weighted mean loss of a batch.

    Args:
      key: what the task draws from.
      variables: of the network.
      opt: the optimiser's state.
      task: gives the loss of each example.
      batch: the examples.
      optimizer: sees the parameters only.
      context: of the task.
      sharpness: of the loss, avoided where given (GSAM).

    Returns:
      The variables and the optimiser's state after the step.

    Example:
      >>> import distill_jax as dj, jax, optax
      >>> from distill_jax.training import gradient_step
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> synthetic = dj.Synthetic(x=jax.numpy.ones((10, 8, 8, 1)), y=jax.numpy.eye(10))
      >>> variables, sgd = task.init(jax.random.key(1), None), optax.sgd(0.1)
      >>> variables, opt = gradient_step.descend(
      ...     jax.random.key(2), variables, sgd.init(variables.params), task,
      ...     synthetic, optimizer=sgd)
    """
    grad_fn = lambda params: gradient(
        key, variables._replace(params=params), task, batch, context=context
    )
    if sharpness is None:
        grads, stats = grad_fn(variables.params)
    else:
        grads, stats = sharpness_lib.flat_direction(
            grad_fn, variables.params, sharpness
        )
    updates, opt = optimizer.update(grads, opt, variables.params)
    params: Any = optax.apply_updates(variables.params, updates)
    return base.Variables(params, stats), opt


def gradient(
    key: Key,
    variables: base.Variables,
    task: base.Task,
    batch: Any,
    *,
    context: Any = None,
    in_blocks: bool = True,
) -> tuple[PyTree, PyTree]:
    """The gradient of the weighted mean loss of a batch, and the new statistics.

    Without statistics, which join the examples of a batch, it is a sum over examples:
    taken some at a time, and shared by devices in a function of
    :func:`distill_jax.compute.parallel.over_mesh`. What the task draws, such as
    dropout, depends on how the batch is cut.

    Args:
      key: what the task draws from.
      variables: of the network.
      task: gives the loss of each example.
      batch: the examples.
      context: of the task.
      in_blocks: whether so many examples are taken at a time as fit the caches, and
        again, so many at a time, by a derivative of this gradient; else all at once,
        and a derivative keeps all that it went through.

    Returns:
      A tree like ``variables.params``, and one like ``variables.stats``.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax.training import gradient_step
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> synthetic = dj.Synthetic(x=jax.numpy.ones((10, 8, 8, 1)), y=jax.numpy.eye(10))
      >>> variables = task.init(jax.random.key(1), None)
      >>> grads, _ = gradient_step.gradient(
      ...     jax.random.key(2), variables, task, synthetic)
      >>> jax.tree.map(jax.numpy.shape, grads["dense0"])
      {'bias': (8,), 'kernel': (64, 8)}
    """
    params, stats = variables
    batch = rows.examples_of(batch)  # A set has also what belongs to no row.

    def losses_fn(params, key, batch):
        return task.train_loss(base.Variables(params, stats), key, batch, context)

    def mean_loss(params, batch):
        losses, next_stats = losses_fn(params, key, batch)
        return weighted_mean(losses, batch.weight), next_stats

    def total_loss(params, number, block):
        losses, _ = losses_fn(params, jax.random.fold_in(key, number), block)
        return jnp.sum(block.weight * losses)

    again = lambda fn: jax.checkpoint(fn, prevent_cse=False) if in_blocks else fn
    is_whole = bool(jax.tree.leaves(stats))
    size = num_examples = batch.y.shape[0]
    if in_blocks and not is_whole:
        size = blocks.fitting_size(
            lambda batch: losses_fn(params, key, batch)[0], batch
        )
    is_one = size >= num_examples and parallel.num_devices("examples") == 1
    if is_whole or is_one:
        return again(jax.grad(mean_loss, has_aux=True))(params, batch)
    of_block = again(jax.grad(total_loss))
    total = lambda number, block: of_block(params, number, block)
    return blocks.batch_sum(total, blocks.shares(batch), size), stats


def weighted_mean(losses: Array, weight: Array | None) -> Array:
    """The mean over examples by their weights.

    Args:
      losses: [B].
      weight: [B], or None for equal weights.

    Returns:
      A scalar; 0 where all weights are.

    Example:
      >>> import jax.numpy as jnp
      >>> float(weighted_mean(jnp.array([1.0, 5.0]), jnp.array([3.0, 1.0])))
      2.0
    """
    if weight is None:
        return losses.mean()
    mass = weight.sum()
    return (weight * losses).sum() / jnp.where(mass > 0, mass, 1.0)
