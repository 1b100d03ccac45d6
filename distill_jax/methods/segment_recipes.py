# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""How MTT, FTD, TESLA and DATM are put together from their settings."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

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
from distill_jax.methods import initial_examples, initial_from_experts, parts
from distill_jax.methods import published_trajectories as published
from distill_jax.training import sharpness
from distill_jax.transforms import learned_rate

__all__ = ["Experts", "Folder", "segment_recipe"]

Folder = str | os.PathLike[str] | None
Experts = experts_lib.ExpertPlan | Mapping[str, Any] | None


def segment_recipe(method: str, task: base.Task, **given: Any) -> base.Recipe:
    """The recipe of a method that matches segments of trajectories.

    Args:
      method: a key of ``TRAJECTORIES``, the published settings.
      task: see :func:`~distill_jax.methods.mtt`.
      **given: the other arguments of the method, those of
        :func:`~distill_jax.methods.mtt` and of its own. None stands for what was
        published.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`~distill_jax.methods.mtt`.

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), spec)
      >>> recipe = dj.methods.mtt(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, learning_rate=10.0, rate_learning_rate=1e-5,
      ...     initial_rate=0.1)
      >>> recipe.protocol.learning_rate is None  # the one that is learned
      True
    """
    row = _row(method, task, given["num_per_class"], given)
    names = {field.name for field in dataclasses.fields(_Options)}
    options = _Options(**{key: value for key, value in given.items() if key in names})
    parts.check_momentum(options.momentum)
    strategy = parts.strategy(task, options.augmentation)
    policy = policies.parse(strategy, align_corners=True)
    has_labels = options.label_momentum is not None
    template = tasks.network_shapes(task).params
    sampler = samplers.trajectory_segments(
        template,
        num_epochs=row.num_expert_epochs,
        first_start=row.first_start,
        last_start=row.last_start,
        window=row.window,
        num_experts=options.num_experts_per_step,
    )
    plan = _plan(row, options, strategy)
    buffer_of = _remembered(plan, task, options.buffer)

    decoder = parts.decoder(options.factor)
    optimizer = {"x": optax.sgd(row.learning_rate, options.momentum)}
    if has_labels:
        assert row.label_learning_rate is not None
        parts.check_positive(label_learning_rate=row.label_learning_rate)
        decoder = transforms.learn_labels(decoder, kind="logits", scale=None)
        optimizer["y_logits"] = optax.sgd(
            row.label_learning_rate, options.label_momentum
        )
    decoder = transforms.learn_rate(decoder, row.initial_rate, kind=options.rate_kind)
    is_log = options.rate_kind == "log"
    rate = row.rate_learning_rate / (row.initial_rate**2 if is_log else 1)
    rate_name = "log_learning_rate" if is_log else "learning_rate"
    optimizer[rate_name] = optax.sgd(rate, options.momentum)

    distilled = bilevel.distill(
        objectives.trajectory_matching(
            task,
            num_steps=row.num_student_steps,
            batch_size=row.batch_size,
            policy=policy,
            estimator=options.estimator,
            remat=options.remat,
            assigns_labels=options.assigns_labels,
        ),
        decoder=decoder,
        optimizer=optimizer,
    )
    initial_fn = initial_examples.initial_fn(
        options.initialisation, options.num_per_class * options.factor**2
    )
    if has_labels:
        initial_fn = initial_from_experts.agreed_examples(
            task, options.num_per_class, buffer_of
        )
    distilled = transforms.gate_steps(distilled, options.threshold)
    if row.decay is not None:
        distilled = transforms.moving_average(distilled, row.decay, names=["x"])

    def source_fn(dataset: data.Dataset) -> experts_lib.Trajectories:
        published.check_whitening(method, row, dataset.spec)
        return buffer_of(dataset).to_source()

    judged = protocols.datm_protocol() if has_labels else protocols.mtt_protocol()
    judged = dataclasses.replace(judged, augmentation=strategy)
    return base.Recipe(
        method=distilled,
        sampler=sampler,
        initial_fn=initial_fn,
        source_fn=source_fn,
        protocol=options.protocol or judged,
        experts=plan,
    )


@dataclasses.dataclass(frozen=True)
class _Options:
    """What the four methods share, and what only some of them have."""

    num_per_class: int
    experts: Experts
    buffer: Folder
    momentum: float
    rate_kind: learned_rate.Kind
    augmentation: str
    estimator: unroll.Estimator
    remat: unroll.Remat
    num_experts_per_step: int
    protocol: protocols.Protocol | None
    initialisation: initial_examples.Initialisation = "real"
    factor: int = 1
    assigns_labels: bool = False
    label_momentum: float | None = None
    threshold: float = float("inf")


def _row(
    method: str, task: base.Task, num_per_class: int, given: Mapping[str, Any]
) -> published.Row:
    """The settings given, and the published ones for those that are not."""
    names = [name for name in published.Row._fields if name in given]
    chosen = {name: given[name] for name in names if given[name] is not None}
    optional = {"batch_size", "first_start", "window"}
    needed = set(names) - optional
    if needed <= set(chosen):  # Nothing has to be looked up.
        blank = {name: None for name in published.Row._fields}
        row = published.Row(**{**blank, "first_start": 0, **chosen})  # pyright: ignore
    else:
        row = published.trajectory_row(method, task, num_per_class)._replace(**chosen)
    if "last_start" in chosen:  # A published window would not fit it.
        row = row._replace(window=chosen.get("window"))
    parts.check_positive(
        learning_rate=row.learning_rate,
        rate_learning_rate=row.rate_learning_rate,
        initial_rate=row.initial_rate,
    )
    return row


def _plan(
    row: published.Row, options: _Options, strategy: str
) -> experts_lib.ExpertPlan:
    """How the experts are trained, where it was not said."""
    last = row.last_start - 1 + row.num_expert_epochs
    if isinstance(options.experts, experts_lib.ExpertPlan):
        return options.experts
    is_flat = row.alpha is not None or row.decay is not None
    flat = sharpness.Sharpness(alpha=0.3 if row.alpha is None else row.alpha)
    for name in dict(options.experts or {}):
        known = [field.name for field in dataclasses.fields(experts_lib.ExpertPlan)]
        if name not in known:
            raise errors.InputError(
                f'Experts have no option "{name}". {errors.nearest(name, known)}'
            )
    usual = {
        "num_epochs": max(last, dict(options.experts or {}).get("num_epochs", last)),
        "first_epoch": row.first_start,
        "last_epoch": last,
        "keeps_end": options.label_momentum is not None,
        "augmentation": strategy,
        "sharpness": flat if is_flat or options.label_momentum is not None else None,
    }
    return experts_lib.ExpertPlan(**{**usual, **dict(options.experts or {})})


def _remembered(plan: experts_lib.ExpertPlan, task: base.Task, folder: Folder):
    """The buffer for a data set, made once."""
    made: dict[str, experts_lib.Buffer] = {}

    def buffer_of(dataset: data.Dataset) -> experts_lib.Buffer:
        name = dataset.spec.fingerprint
        if name not in made:
            made[name] = experts_lib.make_buffer(plan, task, dataset, folder=folder)
        return made[name]

    return buffer_of
