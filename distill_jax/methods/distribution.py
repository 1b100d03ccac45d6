# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that match distributions of features: DM and CAFE."""

import dataclasses
from collections.abc import Mapping

import optax

from distill_jax import base, bilevel, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import initial_examples, parts, published
from distill_jax.training import dynamic

__all__ = ["cafe", "dm"]


def dm(
    task: base.Task,
    *,
    num_per_class: int,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    augmentation: str = "auto",
    num_networks: int = 1,
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Distribution matching (DM) with siamese augmentation.

    Args:
      task: a task with features.
      num_per_class: stored pictures of each class.
      batch_size: real examples of each class and step.
      learning_rate: of the pictures; by default 1, and 10 from 100 per class on.
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
    if learning_rate is None:
        learning_rate = published.picture_rate("dm", task, num_per_class)
    parts.check_positive(learning_rate=learning_rate)
    parts.check_momentum(momentum)
    augmentation = parts.strategy(task, augmentation)
    objective = objectives.distribution_matching(task, num_networks=num_networks)
    method = bilevel.distill(
        transforms.siamese(objective, policies.parse(augmentation)),
        decoder=parts.decoder(factor),
        optimizer=optax.sgd(learning_rate, momentum),
    )
    return base.Recipe(
        method=method,
        sampler=samplers.per_class(batch_size),
        initial_fn=initial_examples.initial_fn(
            initialisation, num_per_class * factor**2
        ),
        source_fn=parts.class_source,
        protocol=protocol
        or dataclasses.replace(protocols.dm_protocol(), augmentation=augmentation),
    )


def cafe(
    task: base.Task,
    *,
    num_per_class: int,
    num_steps: int,
    batch_size: int = 256,
    learning_rate: float = 0.1,
    momentum: float = 0.5,
    augmentation: str = "none",
    layer_weights: Mapping[str, float] | None = None,
    discrimination: float = 0.01,
    network_learning_rate: float = 0.01,
    num_queries: int = 128,
    settled_spread: float = 0.04,
    moved_spread: float = 0.03,
    max_epochs: int = 50,
    initialisation: initial_examples.Initialisation = "noise",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Aligning features of all layers (CAFE), with dynamic loops.

    Args:
      task: a task with features.
      num_per_class: stored pictures of each class.
      num_steps: length of the run; the learning rate is halved at 60, 80 and 90 % of
        it.
      batch_size: real examples of each class and step.
      learning_rate: of the pictures, at the start.
      momentum: of the pictures' gradient descent.
      augmentation: ``"none"``, or as in :func:`dm`: then siamese augmentation is used,
        and the network is trained on augmented pictures.
      layer_weights: of each layer's distance; by default 0.1 for every block, 1 for the
        last of them, and 2 for ``penultimate``.
      discrimination: of the cross-entropy of the real examples, classified by the
        synthetic centres.
      network_learning_rate: of the network's gradient descent on the pictures.
      num_queries: real examples of each class and step that measure its accuracy.
      settled_spread: the network is replaced when its accuracies in the last 10 steps
        differ by less.
      moved_spread: it is trained until those after the last 10 epochs differ by more,
      max_epochs: but for no more epochs than this in one step.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples.
      protocol: how the result is judged; the paper's by default.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: for rates and counts that are not positive, a momentum outside
        [0, 1), and what :func:`~distill_jax.objectives.feature_alignment` refuses.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = cafe(task, num_per_class=1, num_steps=2, batch_size=16)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Kai Wang et al., "CAFE: Learning to Condense Dataset by Aligning Features", 2022.
    """
    parts.check_positive(
        learning_rate=learning_rate,
        network_learning_rate=network_learning_rate,
        num_steps=num_steps,
    )
    parts.check_momentum(momentum)
    augmentation = parts.strategy(task, augmentation)
    policy = policies.parse(augmentation)
    objective = objectives.feature_alignment(
        task,
        layer_weights=layer_weights,
        discrimination=discrimination,
        learning_rate=network_learning_rate,
        policy=policy,
        num_queries=num_queries,
        limits=dynamic.Limits(settled_spread, moved_spread, max_epochs),
    )
    halvings = {round(share * num_steps): 0.5 for share in (0.6, 0.8, 0.9)}
    method = bilevel.distill(
        transforms.siamese(objective, policy),
        decoder=parts.decoder(factor),
        optimizer=optax.sgd(
            optax.piecewise_constant_schedule(learning_rate, halvings), momentum
        ),
    )
    judged = protocols.dc_protocol() if policy is None else protocols.dsa_protocol()
    num_epochs = 601 if policy is None else judged.num_epochs
    return base.Recipe(
        method=method,
        sampler=samplers.per_class(batch_size),
        initial_fn=initial_examples.initial_fn(
            initialisation, num_per_class * factor**2
        ),
        source_fn=parts.class_source,
        protocol=protocol
        or dataclasses.replace(
            judged, augmentation=augmentation, num_epochs=num_epochs
        ),
    )
