# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How MTT, FTD, TESLA and DATM are put together from their settings."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import optax

from distill_jax import (
    base,
    bilevel,
    data,
    errors,
    objectives,
    samplers,
    tasks,
    transforms,
)
from distill_jax import experts as experts_lib
from distill_jax.augmentation import policies
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import unroll
from distill_jax.methods import ingredients, initial_from_experts
from distill_jax.methods import published_trajectories as published
from distill_jax.training import sharpness
from distill_jax.transforms import learned_rate

__all__ = [
    "Descent",
    "Experts",
    "Folder",
    "Labels",
    "LearnedRate",
    "Paths",
    "Segments",
    "Student",
    "segment_recipe",
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


class Descent(NamedTuple):
    """How the pictures move; a None stands for what was published."""

    learning_rate: float | None
    momentum: float
    decay: float | None = None


class LearnedRate(NamedTuple):
    """How the student's learning rate moves; a None stands for what was published."""

    rate_learning_rate: float | None
    initial_rate: float | None
    rate_kind: learned_rate.Kind


class Labels(NamedTuple):
    """How the label logits of DATM move; a None stands for what was published."""

    label_learning_rate: float | None
    label_momentum: float


def segment_recipe(
    method: str,
    task: base.Task,
    shared: ingredients.Shared,
    paths: Paths,
    segments: Segments,
    student: Student,
    descent: Descent,
    rate: LearnedRate,
    *,
    labels: Labels | None = None,
    threshold: float = float("inf"),
) -> base.Recipe:
    """Makes the recipe of a method that matches segments of trajectories.

    Args:
      method: a key of ``TRAJECTORIES``, the published settings.
      task: see :func:`~distill_jax.methods.mtt`.
      shared: the options that all named methods have.
      paths: of the experts.
      segments: of those paths.
      student: that is to follow them.
      descent: of the pictures.
      rate: of the student, which is learned.
      labels: learned logits, which start as those of the experts; None for labels that
        stay as they are.
      threshold: steps with a larger loss are refused.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`~distill_jax.methods.mtt`.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> recipe = segment_recipe(
      ...     "mtt", task, ingredients.Shared(task, 1),
      ...     Paths({"num_experts": 2}, None, 1), Segments(3, 1, 0, 2),
      ...     Student(10, "none", "exact", "step"), Descent(10.0, 0.5),
      ...     LearnedRate(1e-5, 0.1, "log"))
      >>> recipe.protocol.learning_rate is None  # the one that is learned
      True
    """
    experts_lib.check_is_trajectory(tasks.network_shapes(task))
    chosen = segments._asdict() | descent._asdict() | rate._asdict()
    chosen |= {"batch_size": student.batch_size}
    chosen |= labels._asdict() if labels is not None else {}
    settings = _settings(method, task, shared.num_of_each, chosen)
    strategy = ingredients.strategy(task, student.augmentation)
    sampler = _sampler(task, settings, paths.num_experts_per_step)
    plan = _plan(settings, paths.experts, strategy, has_labels=labels is not None)
    buffer_of = _remembered(plan, task, paths.buffer)
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
    decoder, optimizer = _learned(shared.decoder(), settings, descent, rate, labels)
    distilled = shared.distill(objective, optimizer, decoder=decoder)
    distilled = transforms.gate_steps(distilled, threshold)
    if settings.decay is not None:
        distilled = transforms.moving_average(distilled, settings.decay, names=["x"])

    def source_fn(dataset: data.Dataset) -> experts_lib.Trajectories:
        published.check_whitening(method, settings, dataset.spec)
        return buffer_of(dataset).to_source()

    judged = protocols.mtt_protocol() if labels is None else protocols.datm_protocol()
    recipe = shared.recipe(
        distilled,
        sampler,
        source_fn=source_fn,
        protocol=dataclasses.replace(judged, augmentation=strategy),
    )
    if labels is not None:
        agreed = initial_from_experts.agreed_examples(
            task, shared.num_of_each, buffer_of, start=settings.start
        )
        recipe = recipe._replace(initial_fn=agreed)
    return recipe._replace(experts=plan)


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
    settings: published.Row, experts: Experts, strategy: str, *, has_labels: bool
) -> experts_lib.ExpertPlan:
    """How the experts are trained, where it was not said."""
    if isinstance(experts, experts_lib.ExpertPlan):
        return experts
    chosen = dict(experts or {})
    known = [field.name for field in dataclasses.fields(experts_lib.ExpertPlan)]
    for name in chosen:
        if name not in known:
            raise errors.InputError(
                f'Experts have no option "{name}". {errors.nearest(name, known)}'
            )
    last = settings.last_start - 1 + settings.num_expert_epochs
    alpha = 0.3 if settings.alpha is None else settings.alpha
    is_flat = settings.alpha is not None or settings.decay is not None or has_labels
    usual = {
        "num_epochs": max(last, chosen.get("num_epochs", last)),
        "first_epoch": settings.first_start,
        "last_epoch": last,
        "keeps_end": has_labels,
        "augmentation": strategy,
        "sharpness": sharpness.Sharpness(alpha=alpha) if is_flat else None,
    }
    return experts_lib.ExpertPlan(**{**usual, **chosen})


def _learned(
    decoder: base.Decoder,
    settings: published.Row,
    descent: Descent,
    rate: LearnedRate,
    labels: Labels | None,
) -> tuple[base.Decoder, bilevel.Optimizer]:
    """The decoder of all that is learned, and how each of it moves."""
    optimizer = {"x": optax.sgd(settings.learning_rate, descent.momentum)}
    if labels is not None:
        assert settings.label_learning_rate is not None  # Published, if not chosen.
        decoder = transforms.learn_labels(decoder, kind="logits", scale=None)
        optimizer["y_logits"] = optax.sgd(
            settings.label_learning_rate, labels.label_momentum
        )
    decoder = transforms.learn_rate(decoder, settings.initial_rate, kind=rate.rate_kind)
    step_size = settings.rate_learning_rate
    if rate.rate_kind == "log":
        optimizer["log_learning_rate"] = optax.sgd(
            step_size / settings.initial_rate**2, descent.momentum
        )
    else:
        optimizer["learning_rate"] = optax.sgd(step_size, descent.momentum)
    return decoder, optimizer


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


def _remembered(plan: experts_lib.ExpertPlan, task: base.Task, folder: Folder):
    """The buffer for a data set, made once."""
    made: dict[str, experts_lib.Buffer] = {}

    def buffer_of(dataset: data.Dataset) -> experts_lib.Buffer:
        name = dataset.spec.fingerprint
        if name not in made:
            made[name] = experts_lib.make_buffer(plan, task, dataset, folder=folder)
        return made[name]

    return buffer_of
