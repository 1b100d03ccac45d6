# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What all methods have that match segments of trajectories, whatever they learn.

These are the experts, the sampler of their segments, and the objective, from settings
that were chosen or published.
"""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import optax

from distill_jax import base, data, errors, objectives, samplers, tasks, transforms
from distill_jax import experts as experts_lib
from distill_jax.augmentation import policies
from distill_jax.inner import unroll
from distill_jax.methods import ingredients
from distill_jax.methods import published_trajectories as published
from distill_jax.training import sharpness
from distill_jax.transforms import learned_rate as learned_rates

__all__ = [
    "Experts",
    "Folder",
    "LearnedRate",
    "Parts",
    "Paths",
    "Segments",
    "Student",
    "expert_plan",
    "learned_rate",
    "parts_of",
    "remembered",
]

Folder = str | os.PathLike[str] | None
Experts = experts_lib.ExpertPlan | Mapping[str, Any] | None

# Where these are chosen, nothing that was published has to be looked up.
_NEEDED = (
    "num_student_steps",
    "num_expert_epochs",
    "last_start",
    "learning_rate",
    "rate_learning_rate",
    "initial_rate",
)
_NEEDED_TOO = {"ftd": ("decay",), "datm": ("label_learning_rate",)}


class Paths(NamedTuple):
    """Where the trajectories of the experts come from."""

    experts: Experts
    buffer: Folder
    num_experts_per_step: int


class Segments(NamedTuple):
    """Which segments are matched; None stands for what was published."""

    num_student_steps: int | None
    num_expert_epochs: int | None
    first_start: int | None
    last_start: int | None
    window: tuple[int, int] | None = None


class Student(NamedTuple):
    """How the student learns from the pictures."""

    batch_size: int | None
    augmentation: str
    estimator: unroll.Estimator
    remat: unroll.Remat
    assigns_labels: bool = False


class LearnedRate(NamedTuple):
    """How the student's learning rate moves; a None stands for what was published."""

    rate_learning_rate: float | None
    initial_rate: float | None
    rate_kind: learned_rates.Kind


class Parts(NamedTuple):
    """What :func:`parts_of` makes."""

    settings: published.Row
    strategy: str  # of augmentation
    plan: experts_lib.ExpertPlan
    buffer_of: Callable[[data.Dataset], experts_lib.Buffer]
    source_fn: Callable[[data.Dataset], experts_lib.Trajectories]
    sampler: base.Sampler
    objective: base.Objective


def parts_of(
    method: str,
    task: base.Task,
    shared: ingredients.Shared,
    paths: Paths,
    segments: Segments,
    student: Student,
    chosen: Mapping[str, Any],
    *,
    has_labels: bool = False,
    label_epoch: int | None = None,
) -> Parts:
    """Makes what does not depend on what is learned.

    Args:
      method: a key of ``TRAJECTORIES``, the published settings.
      task: see :func:`~distill_jax.methods.mtt`.
      shared: the options that all named methods have.
      paths: of the experts.
      segments: of those paths.
      student: that is to follow them.
      chosen: settings of what is learned; a None stands for what was published.
      has_labels: whether experts are as DATM's, and the last epoch of theirs is kept.
      label_epoch: an epoch up to which experts are trained and kept by default.

    Returns:
      :class:`Parts`.

    Raises:
      InputError: as :func:`~distill_jax.methods.mtt`.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> rates = {"learning_rate": 10.0, "rate_learning_rate": 1e-5,
      ...          "initial_rate": 0.1}
      >>> parts_of(
      ...     "mtt", task, ingredients.Shared(task, 1),
      ...     Paths({"num_experts": 2}, None, 1), Segments(3, 1, 0, 2),
      ...     Student(10, "none", "exact", "step"), rates).plan.num_epochs
      2
    """
    experts_lib.check_is_trajectory(tasks.network_shapes(task))
    chosen = {**chosen, **segments._asdict(), "batch_size": student.batch_size}
    settings = _settings(method, task, shared.num_of_each, chosen)
    strategy = ingredients.strategy(task, student.augmentation)
    sampler = _sampler(task, settings, paths.num_experts_per_step)
    plan = _plan(
        settings,
        paths.experts,
        strategy,
        has_labels=has_labels,
        label_epoch=label_epoch or 0,
    )
    buffer_of = remembered(plan, task, paths.buffer)
    objective = objectives.trajectory_matching(
        task,
        num_steps=settings.num_student_steps,
        batch_size=settings.batch_size,
        policy=policies.parse(strategy, align_corners=True),
        estimator=student.estimator,
        remat=student.remat,
        assigns_labels=student.assigns_labels,
        probes=shared.probes,
    )

    def source_fn(dataset: data.Dataset) -> experts_lib.Trajectories:
        published.check_whitening(method, settings, dataset.spec)
        return buffer_of(dataset).to_source()

    return Parts(settings, strategy, plan, buffer_of, source_fn, sampler, objective)


def learned_rate(
    decoder: base.Decoder, settings: published.Row, rate: LearnedRate, momentum: float
) -> tuple[base.Decoder, dict[str, optax.GradientTransformation]]:
    """Makes a decoder learn the student's learning rate, and says how that moves.

    Args:
      decoder: of all else that is learned.
      settings: which have the rate at the start and its learning rate.
      rate: how it is parametrised.
      momentum: of its descent.

    Example:
      >>> import distill_jax as dj
      >>> decoder, optimizer = learned_rate(
      ...     dj.plain_decoder(), published.Row(20, 2, 2, None, 10, 1e-5, 0.01),
      ...     LearnedRate(None, None, "log"), 0.5)
      >>> sorted(optimizer)
      ['log_learning_rate']
    """
    decoder = transforms.learn_rate(decoder, settings.initial_rate, kind=rate.rate_kind)
    step_size, name = settings.rate_learning_rate, "learning_rate"
    if rate.rate_kind == "log":
        step_size, name = step_size / settings.initial_rate**2, "log_learning_rate"
    return decoder, {name: optax.sgd(step_size, momentum)}


def expert_plan(experts: Experts, usual: Mapping[str, Any]) -> experts_lib.ExpertPlan:
    """How experts are trained, where it was said, and how they are usually.

    Args:
      experts: a plan, or some of its fields.
      usual: fields of a plan.

    Raises:
      InputError: for a field that plans do not have.

    Example:
      >>> expert_plan({"num_experts": 2}, {"num_epochs": 5}).num_epochs
      5
    """
    if isinstance(experts, experts_lib.ExpertPlan):
        return experts
    chosen = dict(experts or {})
    known = [field.name for field in dataclasses.fields(experts_lib.ExpertPlan)]
    for name in chosen:
        if name not in known:
            raise errors.InputError(
                f'Experts have no option "{name}". {errors.nearest(name, known)}'
            )
    return experts_lib.ExpertPlan(**{**usual, **chosen})


def remembered(
    plan: experts_lib.ExpertPlan, task: base.Task, folder: Folder
) -> Callable[[data.Dataset], experts_lib.Buffer]:
    """The buffer for a data set, made once.

    Args:
      plan: of the experts.
      task: that they are trained for.
      folder: where they are or are to be.

    Example:
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> plan = experts_lib.ExpertPlan(num_experts=1, num_epochs=1)
      >>> buffer_of = remembered(plan, task, None)
      >>> buffer_of(digits) is buffer_of(digits)
      True
    """
    made: dict[str, experts_lib.Buffer] = {}

    def buffer_of(dataset: data.Dataset) -> experts_lib.Buffer:
        name = dataset.spec.fingerprint
        if name not in made:
            made[name] = experts_lib.make_buffer(plan, task, dataset, folder=folder)
        return made[name]

    return buffer_of


def _settings(
    method: str, task: base.Task, num_per_class: int, chosen: Mapping[str, Any]
) -> published.Row:
    """The settings that were chosen, and the published ones for the others."""
    names = published.Row._fields
    chosen = {n: v for n, v in chosen.items() if n in names and v is not None}
    if {*_NEEDED, *_NEEDED_TOO.get(method, ())} <= chosen.keys():
        return published.Row(**{"batch_size": None, **chosen})
    settings = published.trajectory_row(method, task, num_per_class)
    if "last_start" in chosen:  # A published window would not fit it.
        settings = settings._replace(window=None)
    return settings._replace(**chosen)


def _plan(
    settings: published.Row,
    experts: Experts,
    strategy: str,
    *,
    has_labels: bool,
    label_epoch: int,
) -> experts_lib.ExpertPlan:
    """How the experts are trained, where it was not said."""
    if isinstance(experts, experts_lib.ExpertPlan):
        return experts
    last = max(settings.last_start - 1 + settings.num_expert_epochs, label_epoch)
    alpha = 0.3 if settings.alpha is None else settings.alpha
    is_flat = settings.alpha is not None or settings.decay is not None or has_labels
    usual = {
        "num_epochs": max(last, (experts or {}).get("num_epochs", last)),
        "first_epoch": settings.first_start,
        "last_epoch": last,
        "keeps_end": has_labels,
        "augmentation": strategy,
        "sharpness": sharpness.Sharpness(alpha=alpha) if is_flat else None,
    }
    return expert_plan(experts, usual)


def _sampler(
    task: base.Task, settings: published.Row, num_experts: int
) -> base.Sampler:
    """Draws segments of the paths of parameters like the task's."""
    return samplers.trajectory_segments(
        tasks.network_shapes(task).params,
        num_epochs=settings.num_expert_epochs,
        first_start=settings.first_start,
        last_start=settings.last_start,
        window=settings.window,
        num_experts=num_experts,
    )
