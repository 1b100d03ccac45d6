# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that match gradients of a network trained on the pictures: DC to DSAC."""

import dataclasses

import optax

from distill_jax import base, bilevel, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import initial_examples, parts, published
from distill_jax.objectives import distances

__all__ = ["dc", "dcc", "dsa", "dsac"]


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
    """Gradient matching, class by class (DC).

    Args:
      task: a task whose ``y`` are class probabilities.
      num_per_class: stored pictures of each class.
      batch_size: real examples of each class and step.
      learning_rate: of the pictures; 0.1 by default, 0.01 with perceptrons.
      momentum: of the pictures' gradient descent.
      num_matches: steps with each network, after which it is replaced; the published
        number for ``num_per_class`` by default, as for the next.
      num_epochs: of the network's training on the pictures between two steps.
      network_learning_rate: of that training, by plain gradient descent.
      distance: between gradients.
      augmentation: a strategy string, with which this is :func:`dsa`.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples.
      num_networks: matched in every step; the papers use 1.
      protocol: how the result is judged; the paper's by default.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: for rates and counts that are not positive, a momentum outside [0, 1),
        or an augmentation that does not fit the pictures.

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
        published.loops(
            "dc", num_per_class, num_matches=num_matches, num_epochs=num_epochs
        ),
        num_per_class=num_per_class,
        batch_size=batch_size,
        learning_rate=learning_rate,
        momentum=momentum,
        network_learning_rate=network_learning_rate,
        distance=distance,
        augmentation=augmentation,
        initialisation=initialisation,
        factor=factor,
        num_networks=num_networks,
        protocol=protocol or _plain_protocol(task),
    )


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
    """Gradient matching with siamese augmentation (DSA).

    Args:
      task: a task whose ``y`` are class probabilities.
      num_per_class: stored pictures of each class.
      batch_size: see :func:`dc`, as for all that is not named here.
      learning_rate: see :func:`dc`.
      momentum: see :func:`dc`.
      num_matches: see :func:`dc`.
      num_epochs: see :func:`dc`.
      network_learning_rate: see :func:`dc`.
      distance: see :func:`dc`.
      augmentation: the strategy string of the siamese augmentation, ``"none"``, or
        ``"auto"``: all of DSA, without ``flip`` for digits.
      initialisation: what the pictures start as.
      factor: see :func:`dc`.
      num_networks: see :func:`dc`.
      protocol: see :func:`dc`.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: for rates and counts that are not positive, a momentum outside [0, 1),
        or an augmentation that does not fit the pictures.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = dsa(task, num_per_class=1, batch_size=32)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Bo Zhao, Hakan Bilen, "Dataset Condensation with Differentiable Siamese
      Augmentation", 2021.
    """
    return _recipe(
        task,
        published.loops(
            "dc", num_per_class, num_matches=num_matches, num_epochs=num_epochs
        ),
        num_per_class=num_per_class,
        batch_size=batch_size,
        learning_rate=learning_rate,
        momentum=momentum,
        network_learning_rate=network_learning_rate,
        distance=distance,
        augmentation=augmentation,
        initialisation=initialisation,
        factor=factor,
        num_networks=num_networks,
        protocol=protocol or _augmented_protocol(task, augmentation),
    )


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
    """Gradient matching of all classes together (DCC).

    Args:
      task: a task whose ``y`` are class probabilities.
      num_per_class: stored pictures of each class.
      batch_size: see :func:`dc`, as for all that is not named here.
      learning_rate: see :func:`dc`.
      momentum: see :func:`dc`.
      num_matches: see :func:`dc`.
      num_epochs: see :func:`dc`.
      network_learning_rate: see :func:`dc`.
      distance: see :func:`dc`.
      augmentation: a strategy string, with which this is :func:`dsac`.
      initialisation: what the pictures start as.
      factor: see :func:`dc`.
      num_networks: see :func:`dc`.
      protocol: see :func:`dc`.
      warm_up: ``(networks, matches)``: the first so many matches of each of the first
        so many networks are class by class.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: for rates and counts that are not positive, a momentum outside [0, 1),
        or an augmentation that does not fit the pictures.

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
        published.loops(
            "dcc", num_per_class, num_matches=num_matches, num_epochs=num_epochs
        ),
        num_per_class=num_per_class,
        batch_size=batch_size,
        learning_rate=learning_rate,
        momentum=momentum,
        network_learning_rate=network_learning_rate,
        distance=distance,
        augmentation=augmentation,
        initialisation=initialisation,
        factor=factor,
        num_networks=num_networks,
        protocol=protocol or _plain_protocol(task),
        warm_up=warm_up,
    )


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
    """Collective gradient matching with siamese augmentation (DSAC).

    Args:
      task: a task whose ``y`` are class probabilities.
      num_per_class: stored pictures of each class.
      batch_size: see :func:`dc`, as for all that is not named here.
      learning_rate: see :func:`dc`.
      momentum: see :func:`dc`.
      num_matches: see :func:`dc`.
      num_epochs: see :func:`dc`.
      network_learning_rate: see :func:`dc`.
      distance: see :func:`dc`.
      augmentation: the strategy string of the siamese augmentation, ``"none"``, or
        ``"auto"``: all of DSA, without ``flip`` for digits.
      initialisation: what the pictures start as.
      factor: see :func:`dc`.
      num_networks: see :func:`dc`.
      protocol: see :func:`dc`.
      warm_up: ``(networks, matches)``: the first so many matches of each of the first
        so many networks are class by class.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: for rates and counts that are not positive, a momentum outside [0, 1),
        or an augmentation that does not fit the pictures.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = dsac(task, num_per_class=1, batch_size=32)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Saehyung Lee et al., "Dataset Condensation with Contrastive Signals", 2022.
    """
    return _recipe(
        task,
        published.loops(
            "dcc", num_per_class, num_matches=num_matches, num_epochs=num_epochs
        ),
        num_per_class=num_per_class,
        batch_size=batch_size,
        learning_rate=learning_rate,
        momentum=momentum,
        network_learning_rate=network_learning_rate,
        distance=distance,
        augmentation=augmentation,
        initialisation=initialisation,
        factor=factor,
        num_networks=num_networks,
        protocol=protocol or _augmented_protocol(task, augmentation),
        warm_up=warm_up,
    )


def _recipe(
    task: base.Task,
    loops: published.Loops,
    *,
    num_per_class: int,
    batch_size: int,
    learning_rate: float | None,
    momentum: float,
    network_learning_rate: float,
    distance: distances.Distance,
    augmentation: str,
    initialisation: initial_examples.Initialisation,
    factor: int,
    num_networks: int,
    protocol: protocols.Protocol,
    warm_up: tuple[int, int] | None = None,
) -> base.Recipe:
    """What DC, DSA, DCC and DSAC share; the last two have a warm-up."""
    if learning_rate is None:
        learning_rate = published.picture_rate("dc", task, num_per_class)
    parts.check_positive(
        learning_rate=learning_rate, network_learning_rate=network_learning_rate
    )
    parts.check_momentum(momentum)
    augmentation = parts.strategy(task, augmentation)
    objective = objectives.gradient_matching(
        task,
        distance=distance,
        parameters="kernels" if distance == "per_output_cosine" else "all",
        num_matches=loops.num_matches,
        training=objectives.NetworkTraining(
            optimizer=optax.sgd(network_learning_rate),
            num_epochs=loops.num_epochs,
            policy=policies.parse(augmentation),
        ),
        is_collective=warm_up is not None,
        warm_up=warm_up or (0, 0),
        num_networks=num_networks,
    )
    return base.Recipe(
        method=bilevel.distill(
            transforms.siamese(objective, policies.parse(augmentation)),
            decoder=parts.decoder(factor),
            optimizer=optax.sgd(learning_rate, momentum),
        ),
        sampler=samplers.per_class(batch_size),
        initial_fn=initial_examples.initial_fn(
            initialisation, num_per_class * factor**2
        ),
        source_fn=parts.class_source,
        protocol=protocol,
    )


def _plain_protocol(task: base.Task) -> protocols.Protocol:
    """DC's: without augmentation, but for MNIST with its own and for longer."""
    protocol = protocols.dc_protocol()
    if task.facts.data_name != "mnist":
        return protocol
    return dataclasses.replace(
        protocol, num_epochs=1001, augmentation="dc:crop_scale_rotate"
    )


def _augmented_protocol(task: base.Task, augmentation: str) -> protocols.Protocol:
    """DSA's, with the augmentation that was distilled with."""
    strategy = parts.strategy(task, augmentation)
    return dataclasses.replace(protocols.dsa_protocol(), augmentation=strategy)
