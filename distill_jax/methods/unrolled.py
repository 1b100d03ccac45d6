# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that differentiate through the training of networks: BPTT and RaT-BPTT."""

from typing import Literal, NamedTuple

import optax

from distill_jax import base, errors, objectives, samplers, transforms
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import optimizers, unroll
from distill_jax.methods import ingredients, initial_examples, options

__all__ = [
    "Student",
    "Unrolling",
    "bptt",
    "rat_bptt",
    "training_objective",
    "training_protocol",
]

Optimizer = Literal["adam", "sgd"]


@options.named_method
def bptt(
    task: base.Task,
    *,
    num_per_class: int,
    num_inner_steps: int = 40,
    window: int | None = None,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    label_learning_rate: float | None = None,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    network_optimizer: Optimizer = "adam",
    network_learning_rate: float = 1e-3,
    network_batch_size: int | None = None,
    num_networks: int = 1,
    augmentation: str = "none",
    clip: float | None = 2.0,
    decay: float | None = 0.99,
    remat: unroll.Remat = "step",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Differentiates the whole training of a network, or the end of it (BPTT).

    Args:
      num_inner_steps: T, steps of a network's training, by which the set is judged too.
      window: W, how many of the last steps are differentiated; all by default, fewer
        for truncated BPTT.
      batch_size: real examples on which the trained network is judged in a step.
      learning_rate: learning rate of Adam for the pictures.
      label_learning_rate: learning rate of Adam for the labels, which then stay at 0 or
        above; None for labels that are not learned.
      network_optimizer: of the networks: ``"adam"``, or ``"sgd"`` with momentum 0.9.
      num_networks: fresh networks of each step, over which the loss is averaged.
      augmentation: strategy string of what is drawn anew in each inner step and in the
        evaluation: ``"none"``, operations such as ``"crop_rotate"``, or ``"auto"``:
        all of DSA, without ``flip`` for digits.
      protocol: how a network is trained on the result to judge it, a
        :class:`~distill_jax.evaluation.Protocol`; by default the training that was
        unrolled.

    Raises:
      InputError: for a window longer than the training, an unknown optimiser, or
        another option out of its range.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = bptt(task, num_per_class=1, num_inner_steps=3, batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Tongzhou Wang et al., "Dataset Distillation", 2018, algorithm 1; settings and
      stabilisers of Yunzhen Feng, Ramakrishna Vedantam, Julia Kempe, "Embarrassingly
      Simple Dataset Distillation", 2023.
    """
    return _recipe(
        task,
        ingredients.Shared(num_per_class, initialisation, factor, protocol),
        _Outer(learning_rate, label_learning_rate, num_steps, final_rate, clip, decay),
        Unrolling("last", num_inner_steps, window, augmentation, remat, num_networks),
        Student(network_optimizer, network_learning_rate, network_batch_size),
        batch_size=batch_size,
    )


@options.variant_of(bptt)
def rat_bptt(
    task: base.Task,
    *,
    num_per_class: int,
    num_inner_steps: int = 200,
    window: int = 40,
    batch_size: int = 1024,
    learning_rate: float = 1e-3,
    label_learning_rate: float | None = 1e-3,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    network_optimizer: Optimizer = "adam",
    network_learning_rate: float = 1e-3,
    network_batch_size: int | None = None,
    num_networks: int = 1,
    augmentation: str = "none",
    clip: float | None = 2.0,
    decay: float | None = 0.99,
    remat: unroll.Remat = "step",
    initialisation: initial_examples.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Differentiates random windows of the training of a network (RaT-BPTT).

    Args:
      num_inner_steps: T, steps of the longest training of a network, by which the set
        is judged too; published for CIFAR-10: 200 to 300.
      window: W; each step of the run differentiates W steps of the training after t0
        others, t0 drawn uniformly from 0 to T - W; published: 60 to 100.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = rat_bptt(
      ...     task, num_per_class=1, num_inner_steps=6, window=2, batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).y.shape
      (10, 10)

    Reference:
      Yunzhen Feng, Ramakrishna Vedantam, Julia Kempe, "Embarrassingly Simple Dataset
      Distillation", 2023, algorithm 1 and appendix.
    """
    return _recipe(
        task,
        ingredients.Shared(num_per_class, initialisation, factor, protocol),
        _Outer(learning_rate, label_learning_rate, num_steps, final_rate, clip, decay),
        Unrolling("random", num_inner_steps, window, augmentation, remat, num_networks),
        Student(network_optimizer, network_learning_rate, network_batch_size),
        batch_size=batch_size,
    )


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
    task: base.Task, unrolling: Unrolling, student: Student
) -> base.Objective:
    """Makes the objective that differentiates windows of a training.

    Args:
      task: says what the labels of the set are.
      unrolling: of the networks.
      student: that they are.

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


class _Outer(NamedTuple):
    """How pictures and labels move."""

    learning_rate: float
    label_learning_rate: float | None
    num_steps: int | None
    final_rate: float
    clip: float | None
    decay: float | None


def _recipe(
    task: base.Task,
    shared: ingredients.Shared,
    outer: _Outer,
    unrolling: Unrolling,
    student: Student,
    *,
    batch_size: int,
) -> base.Recipe:
    """The composition that BPTT and RaT-BPTT have in common."""
    decoder, optimizer = shared.decoder(), {"x": _descent(outer, outer.learning_rate)}
    if outer.label_learning_rate is not None:
        decoder = transforms.learn_labels(decoder, kind="probabilities")
        optimizer["y"] = _descent(
            outer, outer.label_learning_rate, optax.keep_params_nonnegative()
        )
    method = shared.distill(
        training_objective(task, unrolling, student), optimizer, decoder=decoder
    )
    if outer.decay is not None:
        method = transforms.moving_average(method, outer.decay)
    return shared.recipe(
        method,
        samplers.uniform(batch_size),
        protocol=training_protocol(task, unrolling, student),
    )


def _descent(
    outer: _Outer, learning_rate: float, *after: optax.GradientTransformation
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
