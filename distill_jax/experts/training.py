# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Experts: networks trained on the real data, kept after every epoch.

    theta_0 = init,    theta_e = the network after e completed epochs,   e = 0, ..., E

with plain SGD, as trajectory matching and the soft-label baseline want it. Early
experts give soft labels, late ones nearly hard ones.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from distill_jax import base, deprecations, errors, tasks
from distill_jax import data as data_lib
from distill_jax.experts import plan
from distill_jax.training import loop, minibatches, pool
from distill_jax.types import Key

__all__ = [
    "at_epoch",
    "train_expert",
    "train_experts",
    "train_learner",
    "train_learners",
]


@deprecations.renamed_arguments(policy="augmentation")
@deprecations.gathered_arguments("training", plan.Training)
def train_expert(
    key: Key, task: base.Task, source: base.Source, training: plan.Training
) -> base.Variables:
    """Trains one expert; pure, to be jitted, and mapped over keys for several.

    Args:
      key: of everything random.
      task: whose network is trained.
      source: the real training set; its labels are classes [N] or targets [N, C].
      training: how; E epochs.

    Returns:
      The variables after 0, 1, ..., E epochs: a leading axis E + 1.

    Example:
      >>> import distill_jax as dj, jax
      >>> from distill_jax import experts
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> expert = experts.train_expert(
      ...     jax.random.key(0), task, dj.data.to_source(data),
      ...     experts.Training(num_epochs=3))
      >>> {leaf.shape[0] for leaf in jax.tree.leaves(expert)}
      {4}

    Reference:
      Cazenavette et al., "Dataset Distillation by Matching Training Trajectories",
      2022. Qin, Deng, Alvarez-Melis, "A Label is Worth a Thousand Images in Dataset
      Distillation", 2024.
    """
    return train_learner(key, task, source, training).variables


def train_learner(
    key: Key, task: base.Task, source: base.Source, training: plan.Training
) -> base.Learner:
    """Trains one expert as :func:`train_expert` does, and returns its context too.

    Args:
      key: of everything random, the context included.
      task: as there.
      source: as there.
      training: as there.

    Returns:
      The variables with a leading axis E + 1, and the one context that the expert
      learned in all of its epochs.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> learner = dj.experts.train_learner(
      ...     jax.random.key(0), task, dj.data.to_source(data),
      ...     dj.experts.Training(num_epochs=1))
      >>> print(learner.context)  # Images have none.
      None
    """
    key_context, key_init, key_fit = jax.random.split(key, 3)
    start, context = tasks.init_learner(task, (key_context, key_init))
    if training.num_epochs == 0:
        return base.Learner(jax.tree.map(lambda leaf: leaf[None], start), context)
    num_examples, num_classes = source.y.shape[0], source.table.shape[0]
    batch_size = min(training.batch_size, num_examples)
    per_epoch = minibatches.num_steps_per_epoch(num_examples, batch_size)

    def prepare(batch: base.Examples) -> base.Examples:
        y = batch.y if batch.y.ndim == 2 else jax.nn.one_hot(batch.y, num_classes)
        x = data_lib.normalize(source.normalizer, batch.x)
        return batch._replace(x=x, y=task.encode(y))

    after = loop.fit(
        key_fit,
        start,
        task,
        base.Examples(
            source.x,
            source.y,
            None if source.selected is None else source.selected.astype(float),
            jnp.arange(num_examples, dtype=jnp.int32),
        ),
        optimizer=_optimizer(training, per_epoch),
        num_steps=training.num_epochs * per_epoch,
        batching=minibatches.Batching(batch_size, training.policy(), prepare=prepare),
        context=context,
        num_checkpoints=training.num_epochs,
        sharpness=training.sharpness,  # pyright: ignore[reportArgumentType]
    )
    variables = jax.tree.map(
        lambda first, rest: jnp.concatenate([first[None], rest]), start, after
    )
    return base.Learner(variables, context)


def train_experts(
    key: Key,
    task: base.Task,
    source: base.Source,
    training: plan.Training,
    *,
    num_experts: int,
) -> base.Variables:
    """Trains several experts, and keeps each as it is after the last epoch.

    ``parallel.over_mesh(train_experts, mesh)`` trains some of them on each device.

    Args:
      key: of everything random.
      task: a classification task with ``"probabilities"`` as targets.
      source: the real training set.
      training: how.
      num_experts: E, from fresh weights each.

    Returns:
      Variables with a leading axis E.

    Raises:
      InputError: when there are to be no experts.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> networks = dj.experts.train_experts(
      ...     jax.random.key(0), task, dj.data.to_source(data),
      ...     dj.experts.Training(num_epochs=1), num_experts=3)
      >>> {leaf.shape[0] for leaf in jax.tree.leaves(networks)}
      {3}
    """
    return train_learners(
        key, task, source, training, num_experts=num_experts
    ).variables


def train_learners(
    key: Key,
    task: base.Task,
    source: base.Source,
    training: plan.Training,
    *,
    num_experts: int,
) -> base.Learner:
    """Trains several experts as :func:`train_experts` does, each in its own context.

    Args:
      key: of everything random, the contexts included.
      task: as there.
      source: as there.
      training: as there.
      num_experts: E.

    Returns:
      A :class:`~distill_jax.base.Learner` with a leading axis E.

    Raises:
      InputError: when there are to be no experts.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> learners = dj.experts.train_learners(
      ...     jax.random.key(0), task, dj.data.to_source(data),
      ...     dj.experts.Training(num_epochs=1), num_experts=2)
      >>> {leaf.shape[0] for leaf in jax.tree.leaves(learners)}
      {2}
    """
    errors.check_counts(num_experts=num_experts)

    def train(key: Key) -> base.Learner:
        variables, context = train_learner(key, task, source, training)
        return base.Learner(at_epoch(variables, training.num_epochs), context)

    return pool.map_networks(train, jax.random.split(key, num_experts))


def at_epoch(expert: base.Variables, epoch: Any) -> base.Variables:
    """The network of an expert after some completed epochs.

    Args:
      expert: from :func:`train_expert`.
      epoch: a number from 0 (before training) to E, or several.

    Example:
      >>> import jax.numpy as jnp
      >>> from distill_jax import base
      >>> expert = base.Variables({"w": jnp.array([5.0, 6.0, 7.0])}, {})
      >>> float(at_epoch(expert, 2).params["w"])
      7.0
    """
    return jax.tree.map(lambda leaf: leaf[epoch], expert)


def _optimizer(training: plan.Training, per_epoch: int) -> optax.GradientTransformation:
    rate = training.learning_rate
    if training.drops_rate:
        drop = (training.num_epochs // 2 + 2) * per_epoch
        rate = optax.piecewise_constant_schedule(rate, {drop: 0.1})
    return optax.chain(
        optax.add_decayed_weights(training.weight_decay),
        optax.sgd(rate, momentum=training.momentum or None),
    )
