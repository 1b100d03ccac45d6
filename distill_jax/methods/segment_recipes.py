# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How MTT, FTD, TESLA and DATM are put together from their settings."""

import dataclasses
from typing import NamedTuple

import optax

from distill_jax import base, bilevel, transforms
from distill_jax.evaluation import protocol as protocols
from distill_jax.methods import ingredients, initial_from_experts
from distill_jax.methods import published_trajectories as published
from distill_jax.methods import segment_parts as parts_lib

__all__ = ["Descent", "Labels", "segment_recipe"]


class Descent(NamedTuple):
    """How the pictures move; a None stands for what was published."""

    learning_rate: float | None
    momentum: float
    decay: float | None = None


class Labels(NamedTuple):
    """How the label logits of DATM move; a None stands for what was published."""

    label_learning_rate: float | None
    label_momentum: float


def segment_recipe(
    method: str,
    task: base.Task,
    shared: ingredients.Shared,
    paths: parts_lib.Paths,
    segments: parts_lib.Segments,
    student: parts_lib.Student,
    descent: Descent,
    rate: parts_lib.LearnedRate,
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
      ...     parts_lib.Paths({"num_experts": 2}, None, 1),
      ...     parts_lib.Segments(3, 1, 0, 2),
      ...     parts_lib.Student(10, "none", "exact", "step"), Descent(10.0, 0.5),
      ...     parts_lib.LearnedRate(1e-5, 0.1, "log"))
      >>> recipe.protocol.learning_rate is None  # the one that is learned
      True
    """
    chosen = descent._asdict() | rate._asdict()
    chosen |= labels._asdict() if labels is not None else {}
    parts = parts_lib.parts_of(
        method,
        task,
        shared,
        paths,
        segments,
        student,
        chosen,
        has_labels=labels is not None,
    )
    settings = parts.settings
    decoder, optimizer = _learned(shared.decoder(), settings, descent, rate, labels)
    distilled = shared.distill(parts.objective, optimizer, decoder=decoder)
    distilled = transforms.gate_steps(distilled, threshold)
    if settings.decay is not None:
        distilled = transforms.moving_average(distilled, settings.decay, names=["x"])
    judged = protocols.mtt_protocol() if labels is None else protocols.datm_protocol()
    recipe = shared.recipe(
        distilled,
        parts.sampler,
        source_fn=parts.source_fn,
        protocol=dataclasses.replace(judged, augmentation=parts.strategy),
    )
    if labels is not None:
        agreed = initial_from_experts.agreed_examples(
            task, shared.num_of_each, parts.buffer_of, start=settings.start
        )
        recipe = recipe._replace(initial_fn=agreed)
    return recipe._replace(experts=parts.plan)


def _learned(
    decoder: base.Decoder,
    settings: published.Row,
    descent: Descent,
    rate: parts_lib.LearnedRate,
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
    decoder, rates = parts_lib.learned_rate(decoder, settings, rate, descent.momentum)
    return decoder, {**optimizer, **rates}
