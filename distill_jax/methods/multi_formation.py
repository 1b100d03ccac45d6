# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradient matching of pictures that stand for several examples each: IDC."""

import optax

from distill_jax import base, bilevel, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import initial_examples, parts, published
from distill_jax.objectives import distances

__all__ = ["idc"]


def idc(
    task: base.Task,
    *,
    num_per_class: int,
    batch_size: int = 64,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int = 100,
    num_train_examples: int = 2000,
    network_learning_rate: float = 0.01,
    distance: distances.Distance | None = None,
    augmentation: str = "color_crop_cutout",
    train_augmentation: str = "color_crop",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 2,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Gradient matching of factorised pictures, networks trained on real ones (IDC).

    Args:
      task: a task whose ``y`` are class probabilities, with a convolutional network.
      num_per_class: stored pictures of each class.
      batch_size: real examples of each class and step.
      learning_rate: of the pictures; the published one by default.
      momentum: of the pictures' gradient descent.
      num_matches: steps with each network, after which it is replaced.
      num_train_examples: real examples that the network is trained on between two
        steps, in mini-batches of 64 with CutMix.
      network_learning_rate: of that training, with momentum 0.9.
      distance: between the gradients of the convolutions; ``"l1"`` for MNIST and
        Fashion-MNIST and ``"mse"`` elsewhere by default.
      augmentation: of both sides of a match.
      train_augmentation: of the network's training.
      initialisation: what the pictures start as.
      factor: each stored picture decodes into ``factor^2`` examples; the paper: 2, and
        3 for ImageNet.
      num_networks: matched in every step; the paper uses 1.
      protocol: how the result is judged; the paper's by default.

    Returns:
      A :class:`~distill_jax.base.Recipe`. Pictures stay between black and white where
      the data set is not whitened.

    Raises:
      InputError: for rates and counts that are not positive, a momentum outside [0, 1),
        or an augmentation that does not fit the pictures.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> net = dj.nets.convnet(10, width=4, depth=1)
      >>> task = dj.tasks.classification(net, digits.spec)
      >>> recipe = idc(task, num_per_class=1, batch_size=8, num_train_examples=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> state.latent.learned["x"].shape, recipe.method.read(state).x.shape
      ((10, 8, 8, 1), (40, 8, 8, 1))

    Reference:
      Jang-Hyun Kim et al., "Dataset Condensation via Efficient Synthetic-Data
      Parameterization", 2022.
    """
    if learning_rate is None:
        learning_rate = published.picture_rate("idc", task, num_per_class)
    parts.check_positive(
        learning_rate=learning_rate,
        network_learning_rate=network_learning_rate,
        num_train_examples=num_train_examples,
    )
    parts.check_momentum(momentum)
    if distance is None:
        is_grey = task.facts.data_name in ("mnist", "fashion_mnist")
        distance = "l1" if is_grey else "mse"
    objective = objectives.gradient_matching(
        task,
        distance=distance,
        parameters="convolutions",
        num_matches=num_matches,
        training=objectives.NetworkTraining(
            optimizer=optax.chain(
                optax.add_decayed_weights(5e-4),
                optax.sgd(network_learning_rate, momentum=0.9),
            ),
            batch_size=64,
            policy=policies.parse(parts.strategy(task, train_augmentation)),
            mixing="cutmix",
            on="real",
        ),
        num_networks=num_networks,
    )
    method = bilevel.distill(
        transforms.siamese(
            objective, policies.parse(parts.strategy(task, augmentation))
        ),
        decoder=parts.decoder(factor),
        optimizer=optax.sgd(learning_rate, momentum),
    )
    if task.facts.bounds:
        method = transforms.clip_pixels(method, *task.facts.bounds)
    return base.Recipe(
        method=method,
        sampler=samplers.pair(
            samplers.per_class(batch_size), samplers.uniform(num_train_examples)
        ),
        initial_fn=initial_examples.initial_fn(
            initialisation, num_per_class * factor**2
        ),
        source_fn=parts.class_source,
        protocol=protocol or protocols.idc_protocol(use_flip=not parts.is_digits(task)),
    )
