# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that match distributions of features: DM."""

import dataclasses

import optax

from distill_jax import base, bilevel, objectives, samplers, seeds, transforms
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import augment
from distill_jax.methods import parts

__all__ = ["dm"]


def dm(
    task: base.Task,
    *,
    num_per_class: int,
    batch_size: int = 256,
    learning_rate: float = 1.0,
    momentum: float = 0.5,
    augmentation: str = "auto",
    num_networks: int = 1,
    initialisation: seeds.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Distribution matching (DM) with siamese augmentation.

    Args:
      task: a task with features.
      num_per_class: stored pictures of each class.
      batch_size: real examples of each class and step.
      learning_rate: of the pictures; 1, or 10 from 100 pictures per class on.
      momentum: of the pictures' gradient descent.
      augmentation: the strategy string of the siamese augmentation, ``"none"``, or
        ``"auto"``: all of DSA, without ``flip`` for digits.
      num_networks: random networks per step; the paper uses 1.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples.
      protocol: how the result is judged; the paper's by default.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: for a learning rate that is not positive, or a momentum outside
        [0, 1).

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = dm(task, num_per_class=1, augmentation="crop_rotate")
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Bo Zhao, Hakan Bilen, "Dataset Condensation with Distribution Matching", 2023.
    """
    parts.check_positive(learning_rate=learning_rate)
    parts.check_momentum(momentum)
    augmentation = parts.strategy(task, augmentation)
    objective = objectives.distribution_matching(task, num_networks=num_networks)
    policy = augment.parse(augmentation)
    if policy is not None:
        objective = transforms.siamese(objective, policy)
    method = bilevel.distill(
        objective,
        decoder=parts.decoder(factor),
        optimizer=optax.sgd(learning_rate, momentum),
    )
    return base.Recipe(
        method=method,
        sampler=samplers.per_class(batch_size),
        seed_fn=seeds.seed_fn(initialisation, num_per_class * factor**2),
        source_fn=parts.class_source,
        protocol=protocol
        or dataclasses.replace(protocols.dm(), augmentation=augmentation),
    )
