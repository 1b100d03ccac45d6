# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How DC, DSA, DCC and DSAC are put together from their settings."""

import dataclasses
from typing import NamedTuple

import optax

from distill_jax import base, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import ingredients, published
from distill_jax.objectives import distances

__all__ = [
    "Descent",
    "Match",
    "Training",
    "augmented_protocol",
    "gradient_recipe",
    "plain_protocol",
]


class Descent(NamedTuple):
    """How the pictures move."""

    learning_rate: float | None
    momentum: float
    batch_size: int


class Match(NamedTuple):
    """What is compared in a step."""

    distance: distances.Distance
    augmentation: str
    num_networks: int
    warm_up: tuple[int, int] | None = None  # None: always class by class


class Training(NamedTuple):
    """How networks are trained between two matches."""

    num_matches: int | None
    num_epochs: int | None
    learning_rate: float


def gradient_recipe(
    task: base.Task,
    shared: ingredients.Shared,
    descent: Descent,
    match: Match,
    training: Training,
    *,
    protocol: protocols.Protocol,
) -> base.Recipe:
    """Makes the recipe of a method that matches gradients.

    Args:
      task: see :func:`~distill_jax.methods.dc`.
      shared: the options that all named methods have.
      descent: of the pictures; a None stands for what was published.
      match: in every step.
      training: of the networks between two matches; likewise.
      protocol: that of the paper.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`~distill_jax.methods.dc`.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> recipe = gradient_recipe(
      ...     task, ingredients.Shared(task, 1), Descent(0.1, 0.5, 8),
      ...     Match("mse", "none", 1), Training(2, 1, 0.01),
      ...     protocol=plain_protocol(task))
      >>> recipe.protocol.augmentation
      'none'
    """
    loops = published.loops(
        "dc" if match.warm_up is None else "dcc",
        shared.num_of_each,
        num_matches=training.num_matches,
        num_epochs=training.num_epochs,
    )
    learning_rate = descent.learning_rate
    if learning_rate is None:
        learning_rate = published.picture_rate("dc", task, shared.num_of_each)
    is_by_output = match.distance == "per_output_cosine"
    policy = policies.parse(ingredients.strategy(task, match.augmentation))
    objective = objectives.gradient_matching(
        task,
        distance=match.distance,
        parameters="kernels" if is_by_output else "all",
        num_matches=loops.num_matches,
        training=objectives.NetworkTraining(
            optimizer=optax.sgd(training.learning_rate),
            num_epochs=loops.num_epochs,
            policy=policy,
        ),
        is_collective=match.warm_up is not None,
        warm_up=match.warm_up or (0, 0),
        num_networks=match.num_networks,
        probes=shared.probes,
    )
    method = shared.distill(
        transforms.siamese(objective, policy),
        optax.sgd(learning_rate, descent.momentum),
    )
    return shared.recipe(
        method,
        samplers.per_class(descent.batch_size),
        source_fn=ingredients.class_source,
        protocol=protocol,
    )


def plain_protocol(task: base.Task) -> protocols.Protocol:
    """Makes the protocol of DC, which augments for MNIST only, and trains longer there.

    Args:
      task: may name the data set.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> plain_protocol(dj.tasks.classification(dj.nets.mlp(10), spec)).num_epochs
      301
    """
    protocol = protocols.dc_protocol()
    if task.facts.data_name != "mnist":
        return protocol
    return dataclasses.replace(
        protocol, num_epochs=1001, augmentation="dc:crop_scale_rotate"
    )


def augmented_protocol(task: base.Task, augmentation: str) -> protocols.Protocol:
    """Makes the protocol of DSA, with the augmentation that was distilled with.

    Args:
      task: may name the data set, by which ``"auto"`` augments.
      augmentation: a strategy string.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec)
      >>> augmented_protocol(task, "crop").augmentation
      'crop'
    """
    strategy = ingredients.strategy(task, augmentation)
    return dataclasses.replace(protocols.dsa_protocol(), augmentation=strategy)
