# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that match distributions of features: DM and CAFE."""

import dataclasses
from collections.abc import Mapping

import optax

from distill_jax import base, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import ingredients, initial_examples, options, published
from distill_jax.training import dynamic
from distill_jax.transforms import bending

__all__ = ["cafe", "dm"]


@options.named_method
def dm(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    augmentation: str = "auto",
    num_networks: int = 1,
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches the class means of random features, under siamese augmentation (DM).

    Args:
      task: what the set is made for: a network that gives features, a loss and the
        classes.
      learning_rate: learning rate of the pictures; by default 1, and 10 from 100
        pictures per class on.
      num_networks: random networks of each step, over which the loss is averaged; the
        paper uses 1.

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
    shared = ingredients.Shared(
        task, num_per_class, num_examples, initialisation, factor, protocol, bend
    )
    if learning_rate is None:
        learning_rate = published.picture_rate("dm", task, shared.num_of_each)
    augmentation = ingredients.strategy(task, augmentation)
    objective = objectives.distribution_matching(task, num_networks=num_networks)
    method = shared.distill(
        transforms.siamese(objective, policies.parse(augmentation)),
        optax.sgd(learning_rate, momentum),
    )
    return shared.recipe(
        method,
        samplers.per_class(batch_size),
        source_fn=ingredients.class_source,
        protocol=dataclasses.replace(
            protocols.dm_protocol(), augmentation=augmentation
        ),
    )


@options.named_method
def cafe(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
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
    bend: bending.Bends = None,
) -> base.Recipe:
    """Aligns the class means of all layers' features, in dynamic loops (CAFE).

    Args:
      task: what the set is made for: a network that gives features, a loss and the
        classes.
      num_steps: length of the run; the learning rate is halved at 60, 80 and 90 % of
        it.
      learning_rate: learning rate of the pictures at the start.
      augmentation: strategy string of the siamese augmentation, with which the network
        is trained too: ``"none"``, operations such as ``"crop_rotate"``, or
        ``"auto"``: all of DSA, without ``flip`` for digits.
      layer_weights: the weight of each layer's distance, by its name; by default 0.1
        for every block, 1 for the last of them, and 2 for ``penultimate``.
      discrimination: the weight of the cross-entropy of the real examples, classified
        by the synthetic centres.
      network_learning_rate: learning rate of the network's gradient descent on the
        pictures.
      num_queries: real examples of each class in a step that measure the network's
        accuracy.
      settled_spread: the network is replaced when its accuracies in the last 10 steps
        differ by less than this.
      moved_spread: the network is trained in a step until its accuracies after the last
        10 epochs differ by more than this.
      max_epochs: the network is trained for no more epochs than this in a step.

    Raises:
      InputError: for an option out of its range, or what
        :func:`~distill_jax.objectives.feature_alignment` refuses.

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
    shared = ingredients.Shared(
        task, num_per_class, num_examples, initialisation, factor, protocol, bend
    )
    shared.check_classes("CAFE classifies real examples by the centres of classes")
    augmentation = ingredients.strategy(task, augmentation)
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
    rate = optax.piecewise_constant_schedule(learning_rate, halvings)
    plain = dataclasses.replace(protocols.dc_protocol(), num_epochs=601)
    judged = plain if policy is None else protocols.dsa_protocol()
    return shared.recipe(
        shared.distill(
            transforms.siamese(objective, policy), optax.sgd(rate, momentum)
        ),
        samplers.per_class(batch_size),
        source_fn=ingredients.class_source,
        protocol=dataclasses.replace(judged, augmentation=augmentation),
    )
