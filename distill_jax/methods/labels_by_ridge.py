# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learns labels by a last layer in closed form, while the images stay: label ridge."""

import dataclasses
from collections.abc import Sequence

import optax

from distill_jax import base, objectives, samplers, transforms
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import (
    ingredients,
    label_recipes,
    options,
    segment_parts,
)
from distill_jax.methods.labels import label_bptt
from distill_jax.transforms import bending

__all__ = ["label_ridge"]


@options.variant_of(label_bptt)
def label_ridge(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    index: Sequence[int] | None = None,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    temperature_learning_rate: float = 1e-2,
    initial_temperature: float = 10.0,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    label_kind: label_recipes.Kind = "simplex",
    is_normalized: bool | None = None,
    smoothing: float = 0.5,
    label_start: label_recipes.StartKind = "uniform",
    label_epoch: int | None = None,
    experts: segment_parts.Experts = None,
    buffer: segment_parts.Folder = None,
    num_networks: int = 10,
    num_active: int = 1,
    max_age: int = 100,
    network_learning_rate: float = 1e-3,
    ridge: float = 1e-2,
    clip: float | None = None,
    decay: float | None = None,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Learns the labels of real images by a last layer in closed form (label ridge).

    The last layer is the ridge regression on the features of a pool of networks, which
    learn the images with the labels as they are; the cross-entropy of what it predicts
    for real examples, times a learned temperature, is lowered.

    Args:
      task: what the set is made for: a network that gives features, a loss and the
        classes.
      batch_size: real examples of a step.
      learning_rate: learning rate of Adam for the labels.
      temperature_learning_rate: learning rate of Adam for the logarithm of the
        temperature.
      initial_temperature: what multiplies predictions before the softmax at the start.
      num_networks: networks of the pool.
      num_active: networks of the pool that take part in a step.
      max_age: steps of its training after which a network is replaced by a fresh one.
      network_learning_rate: learning rate of Adam for the networks.
      decay: share of the old average in a moving average of the labels, which is then
        what is stored, from 0 to below 1; None stores the last ones.
      protocol: how a network is trained on the result to judge it, a
        :class:`~distill_jax.evaluation.Protocol`; that of soft labels by default,
        without augmentation.

    Raises:
      InputError: for a task without features, an unknown kind or start, or another
        option out of its range.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = label_ridge(task, num_per_class=1, batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> sorted(state.latent.learned), recipe.protocol.label_mass
      (['log_temperature', 'y'], 'one')

    Reference:
      Ondrej Bohdal, Yongxin Yang, Timothy Hospedales, "Flexible Dataset Distillation:
      Learn Labels Instead of Images", 2020, algorithm 2.
    """
    options.check_positive(
        temperature_learning_rate=temperature_learning_rate,
        initial_temperature=initial_temperature,
    )
    shared = ingredients.Shared(
        task, num_per_class, num_examples, protocol=protocol, bend=bend
    )
    learning = label_recipes.Learning(
        label_kind,
        is_normalized,
        smoothing,
        learning_rate,
        num_steps,
        final_rate,
        clip,
        decay,
    )
    decoder, optimizer = label_recipes.learned(shared, learning)
    objective = objectives.ridge_classification(
        task,
        num_networks=num_networks,
        num_active=num_active,
        training=objectives.MemberTraining(max_age, network_learning_rate),
        ridge=ridge,
    )
    method = shared.distill(
        objective,
        {**optimizer, "log_temperature": optax.adam(temperature_learning_rate)},
        decoder=transforms.learn_temperature(decoder, initial_temperature),
    )
    recipe = shared.recipe(
        method,
        samplers.uniform(batch_size),
        protocol=dataclasses.replace(
            protocols.soft_label_protocol(), augmentation="none"
        ),
    )
    start = label_recipes.Start(label_start, index, label_epoch, experts, buffer)
    return label_recipes.finished(recipe, shared, learning, start)
