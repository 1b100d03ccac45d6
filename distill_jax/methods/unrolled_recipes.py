# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How BPTT, RaT-BPTT and the second stage of `auto` are put together."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import optax

from distill_jax import base, errors, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import optimizers, unroll
from distill_jax.methods import ingredients

__all__ = [
    "Outer",
    "Student",
    "Unrolling",
    "training_objective",
    "training_protocol",
    "unrolled_recipe",
]

Optimizer = Literal["adam", "sgd"]


class Unrolling(NamedTuple):
    """What is unrolled: a training of networks on the set."""

    windows: objectives.Windows
    num_steps: int
    window: int | None
    augmentation: str  # a strategy string
    remat: unroll.Remat = "step"
    num_networks: int = 1


class Student(NamedTuple):
    """How those networks learn."""

    optimizer: Optimizer
    learning_rate: float
    batch_size: int | None  # synthetic examples of each step; None for all


def training_objective(
    task: base.Task,
    unrolling: Unrolling,
    student: Student,
    *,
    probes: Sequence[str] = (),
) -> base.Objective:
    """Makes the objective that differentiates windows of a training.

    Args:
      task: says what the labels of the set are.
      unrolling: of the networks.
      student: that they are.
      probes: what the loss gives for transforms.

    Raises:
      InputError: for an unknown optimiser, and what
        :func:`~distill_jax.objectives.unrolled_training` refuses.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> unrolling = Unrolling("random", 6, 2, "none")
      >>> objective = training_objective(task, unrolling, Student("adam", 1e-3, None))
      >>> objective.loss.__name__
      'loss'
    """
    strategy = ingredients.strategy(task, unrolling.augmentation)
    return objectives.unrolled_training(
        task,
        num_steps=unrolling.num_steps,
        window=unrolling.window,
        windows=unrolling.windows,
        optimizer=_optimizer(student),
        batch_size=student.batch_size,
        policy=policies.parse(strategy),
        remat=unrolling.remat,
        num_networks=unrolling.num_networks,
        probes=probes,
    )


def training_protocol(
    task: base.Task, unrolling: Unrolling, student: Student
) -> protocols.Protocol:
    """Makes the protocol that trains networks as while distilling.

    Args:
      task: may name the data set, by which ``"auto"`` augments.
      unrolling: of the networks.
      student: that they are.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> unrolling = Unrolling("random", 6, 2, "none")
      >>> training_protocol(task, unrolling, Student("adam", 1e-3, None)).num_steps
      6
    """
    return protocols.Protocol(
        optimizer=student.optimizer,
        learning_rate=student.learning_rate,
        weight_decay=0.0,
        num_steps=unrolling.num_steps,
        batch_size=student.batch_size or 10**6,  # all of the set
        augmentation=ingredients.strategy(task, unrolling.augmentation),
    )


class Outer(NamedTuple):
    """How pictures and labels move."""

    learning_rate: float
    label_learning_rate: float | None
    num_steps: int | None
    final_rate: float
    clip: float | None
    decay: float | None


def unrolled_recipe(
    task: base.Task,
    shared: ingredients.Shared,
    outer: Outer,
    unrolling: Unrolling,
    student: Student,
    *,
    batch_size: int,
) -> base.Recipe:
    """Makes the recipe of a method that differentiates through training.

    Args:
      task: see :func:`~distill_jax.methods.bptt`.
      shared: the options that all named methods have.
      outer: how pictures and labels move.
      unrolling: of the networks.
      student: that they are.
      batch_size: real examples that judge them in a step.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`~distill_jax.methods.bptt`.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> recipe = unrolled_recipe(
      ...     task, ingredients.Shared(task, 1),
      ...     Outer(1e-3, None, None, 1.0, 2.0, 0.99),
      ...     Unrolling("random", 6, 2, "none"), Student("adam", 1e-3, None),
      ...     batch_size=32)
      >>> recipe.protocol.num_steps
      6
    """
    decoder, optimizer = shared.decoder(), {"x": _descent(outer, outer.learning_rate)}
    if outer.label_learning_rate is not None:
        kind, after = "values", ()
        if task.has_classes:
            kind, after = "probabilities", (optax.keep_params_nonnegative(),)
        decoder = transforms.learn_labels(decoder, kind=kind)
        optimizer["y"] = _descent(outer, outer.label_learning_rate, *after)
    method = shared.distill(
        training_objective(task, unrolling, student, probes=shared.probes),
        optimizer,
        decoder=decoder,
    )
    if outer.decay is not None:
        method = transforms.moving_average(method, outer.decay)
    recipe = shared.recipe(
        method,
        samplers.uniform(batch_size),
        protocol=training_protocol(task, unrolling, student),
    )
    if outer.label_learning_rate is None or not task.has_classes:
        return recipe
    # Nothing keeps the mass of a label at one, whatever the protocol is.
    protocol = dataclasses.replace(recipe.protocol, label_mass="free")
    return recipe._replace(protocol=protocol)


def _descent(
    outer: Outer, learning_rate: float, *after: optax.GradientTransformation
) -> optax.GradientTransformation:
    """Adam along a cosine, for gradients that are clipped before."""
    before = []
    if outer.clip is not None:
        before = [transforms.clip_by_average_norm(outer.clip)]
    rates = ingredients.cosine(learning_rate, outer.num_steps, outer.final_rate)
    return optax.chain(*before, optax.adam(rates), *after)


def _optimizer(student: Student) -> optax.GradientTransformation:
    """The optimiser of the networks, as the evaluation has it too."""
    if student.optimizer == "adam":
        return optimizers.adam(student.learning_rate)
    if student.optimizer == "sgd":
        return optax.sgd(student.learning_rate, momentum=0.9)
    name = str(student.optimizer)
    hint = errors.nearest(name, ["adam", "sgd"])
    raise errors.InputError(f'Networks have no optimiser "{name}" here. {hint}')
