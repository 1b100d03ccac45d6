# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that learn labels alone: through training, by trajectories, by a ridge head.

The images are real ones and stay as they are, so that what is gained is gained by
labels. What an option means stands with :func:`label_bptt` or, where other methods have
it too, in :data:`~distill_jax.methods.options.OPTIONS`.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import optax

from distill_jax import base, errors, objectives, samplers, transforms
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import (
    ingredients,
    label_recipes,
    options,
    published_labels,
    segment_parts,
    unrolled_recipes,
)
from distill_jax.transforms import bending, learned_rate

__all__ = ["label_bptt", "label_mtt", "label_ridge"]


@options.named_method
def label_bptt(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    index: Sequence[int] | None = None,
    num_inner_steps: int | None = None,
    window: int | None = None,
    windows: Literal["random", "last", "forward"] = "random",
    batch_size: int = 1024,
    learning_rate: float | None = None,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    label_kind: label_recipes.Kind = "probabilities",
    is_normalized: bool | None = None,
    smoothing: float = 0.5,
    label_start: label_recipes.StartKind = "hard",
    label_epoch: int | None = None,
    experts: segment_parts.Experts = None,
    buffer: segment_parts.Folder = None,
    network_optimizer: unrolled_recipes.Optimizer = "adam",
    network_learning_rate: float = 1e-3,
    network_batch_size: int | None = None,
    num_networks: int = 1,
    augmentation: str = "none",
    clip: float | None = 2.0,
    decay: float | None = None,
    remat: unroll.Remat = "step",
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Learns the labels of real images through the training of a network (label BPTT).

    What is published stands in :data:`~distill_jax.methods.published_labels.LABELS`, by
    data set and ``num_per_class``; elsewhere the nearest is taken, with a warning.

    Args:
      index: positions of the images in the training split, class-major; by default
        random ones, those of fewer images among those of more.
      num_inner_steps: T, steps of the longest training of a network, by which the set
        is judged too; published by default.
      window: W, how many of them are differentiated; published by default.
      windows: which: ``"random"``, after t0 others, t0 drawn from 0 to T - W in every
        step of the run; the ``"last"``; or ``"forward"``, from the first to the last
        in the ``num_steps`` of the run.
      batch_size: real examples on which the trained network is judged in a step.
      learning_rate: learning rate of Adam for the labels; published by default.
      label_kind: how labels are parametrised: ``"probabilities"``, numbers that stay at
        0 or above; ``"logits"``; or ``"simplex"``, clipped and divided by their sum
        after every step.
      is_normalized: whether labels sum to one; by default probabilities do not, so that
        the sum of a label weighs its example, and the others do.
      smoothing: of ``"logits"`` alone: the share of the labels that is spread over all
        classes at the start.
      label_start: the labels at the start: ``"hard"``, ``"uniform"``, or those of
        ``"experts"``.
      label_epoch: completed epochs of the experts whose labels these start as; the last
        by default.
      experts: how such experts are trained, an
        :class:`~distill_jax.experts.ExpertPlan` or a mapping of its fields; by default
        ten, up to ``label_epoch`` or for 20 epochs.
      buffer: folder of such experts; None keeps them in memory.
      network_optimizer: of the networks: ``"adam"``, or ``"sgd"`` with momentum 0.9.
      num_networks: fresh networks of each step, over which the loss is averaged.
      augmentation: strategy string of what is drawn anew in each inner step and in the
        evaluation: ``"none"``, operations such as ``"crop_rotate"``, or ``"auto"``:
        all of DSA, without ``flip`` for digits.
      decay: share of the old average in a moving average of the labels, which is then
        what is stored, from 0 to below 1; None stores the last ones.
      protocol: how a network is trained on the result to judge it, a
        :class:`~distill_jax.evaluation.Protocol`; by default the training that was
        unrolled.

    Raises:
      InputError: for a window longer than the training, an unknown kind or start, or
        another option out of its range.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(16,)), digits.spec)
      >>> recipe = label_bptt(
      ...     task, num_per_class=1, num_inner_steps=6, window=2, learning_rate=0.01,
      ...     batch_size=64)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> sorted(state.latent.learned), recipe.protocol.label_mass
      (['y'], 'free')

    Reference:
      Tian Qin, Zhiwei Deng, David Alvarez-Melis, "A Label is Worth a Thousand Images in
      Dataset Distillation", 2024, section 5; Yunzhen Feng, Ramakrishna Vedantam, Julia
      Kempe, "Embarrassingly Simple Dataset Distillation", 2023.
    """
    shared = ingredients.Shared(
        task, num_per_class, num_examples, protocol=protocol, bend=bend
    )
    shared.check_classes("Labels that are learned alone are class probabilities")
    settings = _published(
        shared,
        num_inner_steps=num_inner_steps,
        window=window,
        learning_rate=learning_rate,
    )
    learning = label_recipes.Learning(
        label_kind,
        is_normalized,
        smoothing,
        settings.learning_rate,
        num_steps,
        final_rate,
        clip,
        decay,
    )
    decoder, optimizer = label_recipes.learned(shared, learning)
    unrolling = unrolled_recipes.Unrolling(
        _windows(windows, num_steps),
        settings.num_inner_steps,
        settings.window,
        augmentation,
        remat,
        num_networks,
    )
    student = unrolled_recipes.Student(
        network_optimizer, network_learning_rate, network_batch_size
    )
    method = shared.distill(
        unrolled_recipes.training_objective(
            task, unrolling, student, probes=shared.probes
        ),
        optimizer,
        decoder=decoder,
    )
    recipe = shared.recipe(
        method,
        samplers.uniform(batch_size),
        protocol=unrolled_recipes.training_protocol(task, unrolling, student),
    )
    start = label_recipes.Start(label_start, index, label_epoch, experts, buffer)
    return label_recipes.finished(recipe, shared, learning, start)


@options.variant_of(label_bptt)
def label_mtt(
    task: base.Task,
    *,
    num_per_class: int | None = None,
    num_examples: int | None = None,
    index: Sequence[int] | None = None,
    experts: segment_parts.Experts = None,
    buffer: segment_parts.Folder = None,
    num_student_steps: int | None = None,
    num_expert_epochs: int | None = None,
    first_start: int | None = None,
    last_start: int | None = None,
    batch_size: int | None = None,
    learning_rate: float = 5e-3,
    num_steps: int | None = None,
    final_rate: float = 1.0,
    label_kind: label_recipes.Kind = "probabilities",
    is_normalized: bool | None = None,
    smoothing: float = 0.5,
    label_start: label_recipes.StartKind = "hard",
    label_epoch: int | None = None,
    momentum: float = 0.5,
    rate_learning_rate: float | None = None,
    initial_rate: float | None = None,
    rate_kind: learned_rate.Kind = "log",
    augmentation: str = "auto",
    estimator: unroll.Estimator = "exact",
    remat: unroll.Remat = "step",
    num_experts_per_step: int = 1,
    clip: float | None = None,
    decay: float | None = None,
    protocol: protocols.Protocol | None = None,
    bend: bending.Bends = None,
) -> base.Recipe:
    """Learns the labels of real images by trajectories of experts (label MTT).

    For labels nothing was published; where segments and rates of the student are not
    chosen, those of :func:`~distill_jax.methods.mtt` are taken.

    Args:
      experts: how experts are trained, an :class:`~distill_jax.experts.ExpertPlan` or a
        mapping of its fields; by default ten, for as many epochs as are needed.
      buffer: folder of the experts, which are trained when the run starts, where they
        are not there yet; None keeps them in memory.
      num_student_steps: N, steps of the student on the images; published by default.
      num_expert_epochs: M, epochs of experts those are to equal; published by default.
      first_start: first epoch that students start from; published by default.
      last_start: students start from epochs below this one; published by default.
      batch_size: images in a student's step; published by default, or all.
      learning_rate: learning rate of Adam for the labels.
      label_epoch: completed epochs of the experts whose labels these start as; the last
        that is kept by default.
      momentum: momentum of the student's learning rate, from 0 to below 1.
      rate_kind: ``"log"`` learns the logarithm of the student's learning rate, which
        keeps it positive; ``"plain"`` the rate itself.
      augmentation: strategy string for the student's examples and the experts', drawn
        anew in every step: ``"none"``, operations such as ``"crop_rotate"``, or
        ``"auto"``: all of DSA, without ``flip`` for digits.
      estimator: ``"exact"``, the gradient through all of the student's steps, or
        ``"tesla"``, which holds its parameters constant inside each of its gradients.
      num_experts_per_step: experts that are matched in every step.
      decay: share of the old average in a moving average of the labels and the rate,
        which are then what is stored, from 0 to below 1; None stores the last ones.
      protocol: how a network is trained on the result to judge it, a
        :class:`~distill_jax.evaluation.Protocol`; that of MTT by default, with the
        learned learning rate.

    Returns:
      A :class:`~distill_jax.base.Recipe`. Its steps are refused where they are not
      finite.

    Raises:
      InputError: for an option out of its range, a window of starts beyond the experts'
        epochs, an epoch that is not kept, or experts in the folder that were trained
        otherwise.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = label_mtt(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, rate_learning_rate=1e-5, initial_rate=0.1,
      ...     augmentation="none", experts={"num_experts": 2})
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> sorted(state.latent.learned)
      ['log_learning_rate', 'y']

    Reference:
      Tian Qin, Zhiwei Deng, David Alvarez-Melis, "A Label is Worth a Thousand Images in
      Dataset Distillation", 2024, section 5; George Cazenavette et al., "Dataset
      Distillation by Matching Training Trajectories", 2022.
    """
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
    rate = segment_parts.LearnedRate(rate_learning_rate, initial_rate, rate_kind)
    parts = segment_parts.parts_of(
        "mtt",
        task,
        shared,
        segment_parts.Paths(experts, buffer, num_experts_per_step),
        segment_parts.Segments(
            num_student_steps, num_expert_epochs, first_start, last_start
        ),
        segment_parts.Student(batch_size, augmentation, estimator, remat),
        {"learning_rate": learning_rate, **rate._asdict()},
        label_epoch=label_epoch,
    )
    decoder, rates = segment_parts.learned_rate(decoder, parts.settings, rate, momentum)
    method = shared.distill(parts.objective, {**optimizer, **rates}, decoder=decoder)
    recipe = shared.recipe(
        transforms.gate_steps(method),
        parts.sampler,
        source_fn=parts.source_fn,
        protocol=dataclasses.replace(
            protocols.mtt_protocol(), augmentation=parts.strategy
        ),
    )
    start = label_recipes.Start(label_start, index, label_epoch)
    recipe = label_recipes.finished(recipe, shared, learning, start, parts.buffer_of)
    return recipe._replace(experts=parts.plan)


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


def _published(shared: ingredients.Shared, **chosen) -> published_labels.Row:
    """The settings that were chosen, and the published ones for the others."""
    chosen = {name: value for name, value in chosen.items() if value is not None}
    if len(chosen) == 3:
        return published_labels.Row(**chosen)
    settings = published_labels.label_row(shared.task, shared.num_of_each)
    return settings._replace(**chosen)


def _windows(windows: str, num_steps: int | None) -> objectives.Windows:
    """Windows as the objective takes them."""
    if windows != "forward":
        return windows  # pyright: ignore[reportReturnType]
    if num_steps is None:
        raise errors.InputError(
            'Windows that move "forward" do so in the steps of the run; pass '
            "`num_steps`, the length of it."
        )
    return objectives.Forward(num_steps)
