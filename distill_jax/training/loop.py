# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains one network on examples with any optax optimiser, as one compiled loop.

    theta <- theta - optimizer( d/d theta  sum_b w_b loss(theta, x_b, y_b) / sum_b w_b )

Mini-batches are those of :mod:`distill_jax.training.minibatches`; a set that fits one
batch needs none. Networks, experts and evaluation runs are ``vmap`` or ``lax.map`` over
these functions.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from distill_jax import base, deprecations, tasks
from distill_jax.compute import rows
from distill_jax.training import gradient_step, minibatches
from distill_jax.training import sharpness as sharpness_lib
from distill_jax.types import Array, Key, PyTree

__all__ = [
    "fit",
    "fit_further",
    "predict_logits",
]


@deprecations.gathered_arguments("batching", minibatches.Batching)
def fit(
    key: Key,
    variables: base.Variables,
    task: base.Task,
    examples: Any,
    *,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    batching: minibatches.Batching,
    context: Any = None,
    num_checkpoints: int = 1,
    sharpness: sharpness_lib.Sharpness | None = None,
) -> base.Variables:
    """Trains one network; pure, so that it can be jitted, vmapped and mapped.

    Args:
      key: draws the order of the examples, the augmentation and what the task draws.
      variables: where to start.
      task: gives the loss of each example.
      examples: :class:`~distill_jax.base.Examples` or
        :class:`~distill_jax.base.Synthetic` of M rows.
      optimizer: sees the parameters only.
      num_steps: T, how many mini-batches.
      batching: how the mini-batches come to be.
      context: of the task.
      num_checkpoints: how many moments to keep, evenly spaced; the last is the end.
      sharpness: of the loss, avoided where given (GSAM).

    Returns:
      The variables after ``T k / num_checkpoints`` steps, k = 1, 2, ..., with that
      leading axis.

    Example:
      >>> import distill_jax as dj, jax, optax
      >>> from distill_jax.training import loop, minibatches
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> x = jax.random.normal(jax.random.key(0), (10, *data.spec.shape))
      >>> synthetic = dj.Synthetic(x=x, y=jax.numpy.eye(10))
      >>> trained = loop.fit(
      ...     jax.random.key(2), task.init(jax.random.key(1), None), task,
      ...     synthetic, optimizer=optax.adam(0.05), num_steps=50,
      ...     batching=minibatches.Batching(256))
      >>> end = jax.tree.map(lambda leaf: leaf[-1], trained)
      >>> task.predict(end, x, None).argmax(axis=1).tolist()
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    step_fn = _stepper(
        key,
        task,
        examples,
        optimizer=optimizer,
        num_steps=num_steps,
        batching=batching,
        context=context,
        sharpness=sharpness,
    )

    def segment(carry, bounds):
        carry = jax.lax.fori_loop(bounds[0], bounds[1], step_fn, carry)
        return carry, carry[0]

    stops = np.arange(1, num_checkpoints + 1) * num_steps // num_checkpoints
    bounds = np.stack([np.append(0, stops[:-1]), stops], axis=1).astype(np.int32)
    carry = (variables, optimizer.init(variables.params))
    return jax.lax.scan(segment, carry, jnp.asarray(bounds))[1]


@deprecations.gathered_arguments("batching", minibatches.Batching)
def fit_further(
    key: Key,
    variables: base.Variables,
    opt: optax.OptState,
    task: base.Task,
    examples: Any,
    *,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    batching: minibatches.Batching,
    context: Any = None,
) -> tuple[base.Variables, optax.OptState]:
    """Goes on with the training of one network, momentum and all.

    Args:
      key: as in :func:`fit`.
      variables: where to go on.
      opt: the optimiser's state there.
      task: gives the loss of each example.
      examples: M rows, as in :func:`fit`.
      optimizer: the one that ``opt`` belongs to.
      num_steps: T more mini-batches.
      batching: how the mini-batches come to be.
      context: of the task.

    Returns:
      The variables and the optimiser's state after T steps.

    Example:
      >>> import distill_jax as dj, jax, optax
      >>> from distill_jax.training import loop, minibatches
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> synthetic = dj.Synthetic(x=jax.numpy.ones((10, 8, 8, 1)), y=jax.numpy.eye(10))
      >>> variables, sgd = task.init(jax.random.key(1), None), optax.sgd(0.1)
      >>> variables, opt = loop.fit_further(
      ...     jax.random.key(2), variables, sgd.init(variables.params), task,
      ...     synthetic, optimizer=sgd, num_steps=3,
      ...     batching=minibatches.Batching(256))
    """
    step_fn = _stepper(
        key,
        task,
        examples,
        optimizer=optimizer,
        num_steps=num_steps,
        batching=batching,
        context=context,
    )
    return jax.lax.fori_loop(0, num_steps, step_fn, (variables, opt))


def predict_logits(
    task: base.Task,
    variables: base.Variables,
    x: PyTree,
    *,
    normalizer: Any = None,
    context: Any = None,
    chunk_size: int = 512,
) -> Array:
    """The logits of many examples, some at a time.

    Args:
      task: gives ``predict``.
      variables: of one network.
      x: [N, ...] inputs; raw ones where a normaliser is given.
      normalizer: a :class:`~distill_jax.data.Normalizer`, applied chunk by chunk.
      context: of the task.
      chunk_size: how many at a time; the remainder is kept.

    Returns:
      [N, C].

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax.training import loop
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> loop.predict_logits(
      ...     task, task.init(jax.random.key(0), None), data.test.x[:7],
      ...     normalizer=data.spec.normalizer, chunk_size=4).shape
      (7, 10)
    """
    data = base.HeldOut(x, jnp.zeros(0), normalizer)
    return tasks.predict_held_out(
        task.predict, variables, data, context, chunk_size=chunk_size
    )


def _stepper(
    key: Key,
    task: base.Task,
    examples: Any,
    *,
    optimizer: optax.GradientTransformation,
    num_steps: int,
    batching: minibatches.Batching,
    context: Any = None,
    sharpness: sharpness_lib.Sharpness | None = None,
) -> Callable:
    """The body of a training loop: (number of the step, carry) -> carry."""
    key_order, key_steps = jax.random.split(key)
    num_examples = examples.y.shape[0]
    whole = rows.examples_of(examples)
    batches = None
    if batching.batch_size < num_examples or batching.order is not None:
        batches = minibatches.mini_batches(
            key_order,
            num_examples=num_examples,
            batch_size=min(batching.batch_size, num_examples),
            num_steps=num_steps,
            order=batching.order,
        )

    def step_fn(step: Array, carry):
        key_step = jax.random.fold_in(key_steps, step)
        key_augment, key_mix, key_loss = jax.random.split(key_step, 3)
        batch = whole
        if batches is not None:
            batch = rows.take(whole, batches[0][step], batches[1][step])
        batch = batch if batching.prepare is None else batching.prepare(batch)
        batch = minibatches.augment_batch(key_augment, batching.policy, batch)
        batch = minibatches.mix_batch(
            key_mix, batching.mixing, batching.mixing_probability, batch
        )
        variables, opt = carry
        return gradient_step.descend(
            key_loss,
            variables,
            opt,
            task,
            batch,
            optimizer=optimizer,
            context=context,
            sharpness=sharpness,
        )

    return step_fn
