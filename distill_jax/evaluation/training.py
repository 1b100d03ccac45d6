# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Trains one fresh network as a protocol says: pure, to be jitted and mapped over runs.

This is :func:`distill_jax.training.loop.fit` with everything filled in from a
:class:`~distill_jax.evaluation.protocol.Protocol`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors
from distill_jax import data as data_lib
from distill_jax.augmentation import policies
from distill_jax.compute import rows
from distill_jax.evaluation import optimizers
from distill_jax.evaluation import protocol as protocol_lib
from distill_jax.training import loop, minibatches
from distill_jax.types import Array, Key

__all__ = ["has_diverged", "train"]

# A training that works ends with a loss below that of outputs of zero. One with a
# learning rate far too high ends orders of magnitude above it, even where all numbers
# stay finite, as they do with Adam.
_MOST = 10.0
_MOST_ROWS = 256  # Enough of the training examples to tell.


def train(
    key: Key,
    task: base.Task,
    examples: Any,
    protocol: protocol_lib.Protocol,
    *,
    normalizer: Any = None,
    variables: base.Variables | None = None,
    order: Array | None = None,
    num_checkpoints: int = 1,
) -> tuple[base.Variables, Any]:
    """Trains one network from scratch.

    Args:
      key: of everything random: context, initialisation, order, augmentation.
      task: with any targets; those of the protocol are used.
      examples: :class:`~distill_jax.base.Synthetic` or
        :class:`~distill_jax.base.Examples`, M rows with labels [M, C] of the
        protocol's kind.
      protocol: how to train.
      normalizer: where ``examples.x`` is raw, what makes it what networks see; it is
        applied batch by batch.
      variables: a start to use instead of a fresh network.
      order: [epochs, M] the order of the examples in every epoch; drawn where None.
      num_checkpoints: how many moments to keep, evenly spaced; the last is the end.

    Returns:
      Variables with a leading axis ``num_checkpoints``, and the task's context.

    Raises:
      InputError: if the learning rate is to be the learned one and there is none.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax.evaluation import training
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> x = jax.random.normal(jax.random.key(0), (10, *data.spec.shape))
      >>> variables, _ = training.train(
      ...     jax.random.key(1), task, dj.Synthetic(x=x, y=jax.numpy.eye(10)),
      ...     dj.evaluation.Protocol(num_steps=20), num_checkpoints=2)
      >>> {leaf.shape[0] for leaf in jax.tree.leaves(variables)}
      {2}
    """
    if task.targets != protocol.targets:
        task = task.retarget(protocol.targets)
    key_context, key_init, key_fit = jax.random.split(key, 3)
    context = task.sample_context(key_context)
    if variables is None:
        variables = task.init(key_init, context)
    num_examples = examples.y.shape[0]
    optimizer = optimizers.make_optimizer(
        protocol, num_examples, _learning_rate(protocol, examples)
    )

    def prepare(batch: base.Examples) -> base.Examples:
        return batch._replace(x=data_lib.normalize(normalizer, batch.x))

    variables = loop.fit(
        key_fit,
        variables,
        task,
        examples,
        optimizer=optimizer,
        num_steps=optimizers.num_steps(protocol, num_examples),
        batching=minibatches.Batching(
            protocol.batch_size,
            policies.parse(
                protocol.augmentation, align_corners=protocol.augmentation_align_corners
            ),
            protocol.mixing,
            protocol.mixing_probability,
            prepare=None if normalizer is None else prepare,
            order=order,
        ),
        context=context,
        num_checkpoints=num_checkpoints,
    )
    return variables, context


def has_diverged(
    key: Key,
    task: base.Task,
    examples: Any,
    protocol: protocol_lib.Protocol,
    trained: tuple[base.Variables, Any],
    *,
    normalizer: Any = None,
) -> Array:
    """Tells whether the training of a network went wrong; pure, as :func:`train` is.

        a variable or L(theta) is not finite,  or  L(theta) > 10 (1 + L(0))

    with L the mean loss of the examples that were learned from, of 256 of them at most,
    and L(0) that of outputs of zero; for a task without an ``output_loss`` that of an
    untrained network.

    Args:
      key: of what the loss draws.
      task: as :func:`train` got it.
      examples: likewise.
      protocol: likewise.
      trained: what :func:`train` gave: variables [K, ...] and the context.
      normalizer: as :func:`train` got it.

    Returns:
      [K] booleans.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax.evaluation import training
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> x = jax.random.normal(jax.random.key(0), (10, *data.spec.shape))
      >>> examples = dj.Synthetic(x=x, y=jax.numpy.eye(10))
      >>> for rate in (0.01, 1e6):
      ...     protocol = dj.evaluation.Protocol(
      ...         num_steps=20, optimizer="adam", learning_rate=rate)
      ...     now = training.train(jax.random.key(1), task, examples, protocol)
      ...     print(training.has_diverged(
      ...         jax.random.key(2), task, examples, protocol, now))
      [False]
      [ True]
    """
    variables, context = trained
    task = task if task.targets == protocol.targets else task.retarget(protocol.targets)
    key_init, key_loss = jax.random.split(key)
    num_rows = examples.y.shape[0]
    index = np.linspace(0, num_rows - 1, min(num_rows, _MOST_ROWS)).round().astype(int)
    batch = rows.take(rows.examples_of(examples), jnp.asarray(index))
    if normalizer is not None:
        batch = batch._replace(x=data_lib.normalize(normalizer, batch.x))

    def loss(now: base.Variables) -> Array:
        return mean(task.train_loss(now, key_loss, batch, context)[0])

    def is_broken(now: base.Variables) -> Array:
        are_finite = [jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(now)]
        is_good = loss(now) <= _MOST * (1.0 + reference)  # False for NaN.
        return ~(is_good & jnp.stack(are_finite).all())

    mean = lambda losses: jnp.average(losses, weights=batch.weight)
    if task.output_loss is None:
        reference = loss(task.init(key_init, context))
    else:
        reference = mean(task.output_loss(jnp.zeros_like(batch.y), batch.y))
    return jax.lax.map(is_broken, variables)


def _learning_rate(protocol: protocol_lib.Protocol, examples: Any) -> float | Array:
    if protocol.learning_rate is not None:
        return protocol.learning_rate
    learned = getattr(examples, "learning_rate", None)
    if learned is None:
        raise errors.InputError(
            "The protocol asks for the learned learning rate, but these examples have "
            "none; give the protocol a number as `learning_rate`."
        )
    return learned
