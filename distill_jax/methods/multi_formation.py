# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Gradient matching of pictures that stand for several examples each: IDC."""

import optax

from distill_jax import base, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import ingredients, initial_examples, options, published
from distill_jax.objectives import distances
from distill_jax.transforms import bending

__all__ = ["idc"]


@options.named_method
def idc(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    batch_size: int = 64,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    num_matches: int = 100,
    num_train_examples: int = 2000,
    network_learning_rate: float = 0.01,
    distance: distances.Distance | None = None,
    augmentation: str = "color_crop_cutout",
    train_augmentation: str = "color_crop",
    mixing_probability: float = 0.5,
    num_matched: int = 128,
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 2,
    num_networks: int = 1,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Matches gradients of factorised pictures, networks trained on real ones (IDC).

    Args:
      task: what the set is made for: a convolutional network, a loss and the classes;
        its ``y`` are class probabilities.
      learning_rate: learning rate of the pictures; the published one by default, which
        grows with ``num_per_class`` and the size of the pictures.
      num_matches: matches (steps) with each network, after which a fresh one takes its
        place.
      num_train_examples: real examples that the network is trained on between two
        matches, in mini-batches of 64.
      network_learning_rate: learning rate of the network, with momentum 0.9.
      distance: between the gradients of the convolutions: ``"l1"``, ``"mse"``,
        ``"per_output_cosine"`` or ``"whole_cosine"``; by default ``"l1"`` for MNIST and
        Fashion-MNIST, and ``"mse"`` elsewhere.
      augmentation: strategy string of the augmentation of both sides of a match,
        ``"none"``, or ``"auto"``: all of DSA, without ``flip`` for digits. ``flip``,
        ``color`` and ``cutout`` are always done, of the others one at a time.
      train_augmentation: strategy string of the network's training, likewise.
      mixing_probability: of CutMix in each of the mini-batches of the network's
        training; the paper uses 0.5, and 1 for ImageNet.
      num_matched: at most so many examples of each class, after they were cut from the
        pictures, are matched in a step, drawn anew.
      factor: each stored picture is cut into ``factor^2`` tiles, which are enlarged to
        as many examples; the paper uses 2, and 3 for ImageNet.

    Returns:
      A :class:`~distill_jax.base.Recipe`. Pictures stay between black and white where
      the data set is not whitened.

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
    options.check_positive(
        num_train_examples=num_train_examples, num_matched=num_matched
    )
    options.check_share("the mini-batches", mixing_probability=mixing_probability)
    shared = ingredients.Shared(
        task, num_per_class, num_examples, initialisation, factor, protocol, bend
    )
    if learning_rate is None:
        learning_rate = published.picture_rate("idc", task, shared.num_of_each)
    if distance is None:
        is_grey = task.facts.data_name in ("mnist", "fashion_mnist")
        distance = "l1" if is_grey else "mse"
    strategies = augmentation, train_augmentation
    policy, train_policy = (
        policies.parse(ingredients.strategy(task, each), mode="composed")
        for each in strategies
    )
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
            policy=train_policy,
            mixing="cutmix",
            mixing_probability=mixing_probability,
            on="real",
        ),
        num_networks=num_networks,
        num_matched=num_matched,
        probes=shared.probes,
    )
    method = shared.distill(
        transforms.siamese(objective, policy), optax.sgd(learning_rate, momentum)
    )
    if task.facts.bounds:
        method = transforms.clip_pixels(method, *task.facts.bounds)
    return shared.recipe(
        method,
        samplers.pair(
            samplers.per_class(batch_size), samplers.uniform(num_train_examples)
        ),
        source_fn=ingredients.class_source,
        protocol=protocols.idc_protocol(use_flip=not ingredients.is_digits(task)),
    )
