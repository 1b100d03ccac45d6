# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Learns labels by trajectories of experts, while the images stay: label MTT."""

import dataclasses
from collections.abc import Sequence

from distill_jax import base, transforms
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import (
    ingredients,
    label_recipes,
    options,
    segment_parts,
)
from distill_jax.methods.labels import label_bptt
from distill_jax.transforms import bending, learned_rate

__all__ = ["label_mtt"]


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
