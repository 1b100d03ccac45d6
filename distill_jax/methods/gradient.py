# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that match gradients of a network trained on the pictures: DC to DSAC.

What an option means stands with :func:`dc` or, where other methods have it too, in
:data:`~distill_jax.methods.options.OPTIONS`; ``help(dj.methods.dsac)`` shows all.
"""

import dataclasses
from typing import NamedTuple

import optax

from distill_jax import base, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import ingredients, initial_examples, options, published
from distill_jax.objectives import distances

__all__ = ["dc", "dcc", "dsa", "dsac"]


@options.named_method
def dc(
    task: base.Task,
    *,
    num_per_class: int,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int | None = None,
    num_epochs: int | None = None,
    network_learning_rate: float = 0.01,
    distance: distances.Distance = "per_output_cosine",
    augmentation: str = "none",
    initialisation: initial_examples.Initialisation = "noise",
    factor: int = 1,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Matches gradients of a network, class by class (DC).

    Args:
      learning_rate: learning rate of the pictures; by default 0.1, and 0.01 with
        perceptrons.
      num_matches: matches (steps) with each network, after which a fresh one takes its
        place; the published number for ``num_per_class`` by default.
      num_epochs: epochs of the network's training on the pictures between two matches;
        the published number for ``num_per_class`` by default.
      network_learning_rate: learning rate of the network's gradient descent.
      distance: between two gradients: ``"per_output_cosine"``, of the kernels, summed
        over output units; or ``"whole_cosine"``, ``"mse"``, ``"l1"``, of all
        parameters.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = dc(task, num_per_class=1, batch_size=32)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Bo Zhao, Konda Reddy Mopuri, Hakan Bilen, "Dataset Condensation with Gradient
      Matching", 2021, Algorithm 1.
    """
    return _recipe(
        task,
        ingredients.Shared(num_per_class, initialisation, factor, protocol),
        _Descent(learning_rate, momentum, batch_size),
        _Match(distance, augmentation, num_networks),
        _Training(num_matches, num_epochs, network_learning_rate),
        protocol=_plain_protocol(task),
    )


@options.variant_of(dc)
def dsa(
    task: base.Task,
    *,
    num_per_class: int,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int | None = None,
    num_epochs: int | None = None,
    network_learning_rate: float = 0.01,
    distance: distances.Distance = "per_output_cosine",
    augmentation: str = "auto",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Matches gradients under siamese augmentation (DSA): :func:`dc`, augmented.

    The network's training and the evaluation are augmented too.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), spec)
      >>> recipe = dsa(task, num_per_class=1)
      >>> recipe.protocol.augmentation
      'color_crop_cutout_scale_rotate'

    Reference:
      Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese
      Augmentation", 2021.
    """
    return _recipe(
        task,
        ingredients.Shared(num_per_class, initialisation, factor, protocol),
        _Descent(learning_rate, momentum, batch_size),
        _Match(distance, augmentation, num_networks),
        _Training(num_matches, num_epochs, network_learning_rate),
        protocol=_augmented_protocol(task, augmentation),
    )


@options.variant_of(dc)
def dcc(
    task: base.Task,
    *,
    num_per_class: int,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int | None = None,
    num_epochs: int | None = None,
    network_learning_rate: float = 0.01,
    distance: distances.Distance = "per_output_cosine",
    augmentation: str = "none",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
    warm_up: tuple[int, int] = (250, 10),
) -> base.Recipe:
    """Matches gradients of all classes together (DCC), after a warm-up as :func:`dc`.

    Args:
      warm_up: ``(networks, matches)``: the first so many matches of each of the first
        so many networks are class by class.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = dcc(task, num_per_class=1, batch_size=32)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Saehyung Lee et al., "Dataset Condensation with Contrastive Signals", 2022.
    """
    return _recipe(
        task,
        ingredients.Shared(num_per_class, initialisation, factor, protocol),
        _Descent(learning_rate, momentum, batch_size),
        _Match(distance, augmentation, num_networks, warm_up),
        _Training(num_matches, num_epochs, network_learning_rate),
        protocol=_plain_protocol(task),
    )


@options.variant_of(dcc)
def dsac(
    task: base.Task,
    *,
    num_per_class: int,
    batch_size: int = 256,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int | None = None,
    num_epochs: int | None = None,
    network_learning_rate: float = 0.01,
    distance: distances.Distance = "per_output_cosine",
    augmentation: str = "auto",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
    warm_up: tuple[int, int] = (250, 10),
) -> base.Recipe:
    """Matches gradients of all classes under siamese augmentation (DSAC).

    It is to :func:`dcc` what :func:`dsa` is to :func:`dc`.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), spec)
      >>> recipe = dsac(task, num_per_class=1, augmentation="crop_rotate")
      >>> recipe.protocol.augmentation
      'crop_rotate'

    Reference:
      Saehyung Lee et al., "Dataset Condensation with Contrastive Signals", 2022.
    """
    return _recipe(
        task,
        ingredients.Shared(num_per_class, initialisation, factor, protocol),
        _Descent(learning_rate, momentum, batch_size),
        _Match(distance, augmentation, num_networks, warm_up),
        _Training(num_matches, num_epochs, network_learning_rate),
        protocol=_augmented_protocol(task, augmentation),
    )


class _Descent(NamedTuple):
    """How the pictures move."""

    learning_rate: float | None
    momentum: float
    batch_size: int


class _Match(NamedTuple):
    """What is compared in a step."""

    distance: distances.Distance
    augmentation: str
    num_networks: int
    warm_up: tuple[int, int] | None = None  # None: always class by class


class _Training(NamedTuple):
    """How networks are trained between two matches."""

    num_matches: int | None
    num_epochs: int | None
    learning_rate: float


def _recipe(
    task: base.Task,
    shared: ingredients.Shared,
    descent: _Descent,
    match: _Match,
    training: _Training,
    *,
    protocol: protocols.Protocol,
) -> base.Recipe:
    """The composition that DC, DSA, DCC and DSAC have in common."""
    loops = published.loops(
        "dc" if match.warm_up is None else "dcc",
        shared.num_per_class,
        num_matches=training.num_matches,
        num_epochs=training.num_epochs,
    )
    learning_rate = descent.learning_rate
    if learning_rate is None:
        learning_rate = published.picture_rate("dc", task, shared.num_per_class)
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


def _plain_protocol(task: base.Task) -> protocols.Protocol:
    """That of DC: not augmented, but for MNIST, which has its own and trains longer."""
    protocol = protocols.dc_protocol()
    if task.facts.data_name != "mnist":
        return protocol
    return dataclasses.replace(
        protocol, num_epochs=1001, augmentation="dc:crop_scale_rotate"
    )


def _augmented_protocol(task: base.Task, augmentation: str) -> protocols.Protocol:
    """That of DSA, with the augmentation that was distilled with."""
    strategy = ingredients.strategy(task, augmentation)
    return dataclasses.replace(protocols.dsa_protocol(), augmentation=strategy)
