# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Methods that match trajectories of experts: MTT, FTD, TESLA and DATM."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import jax
import optax

from distill_jax import (
    base,
    bilevel,
    buffers,
    data,
    errors,
    objectives,
    samplers,
    seeds,
    transforms,
)
from distill_jax.evaluation import protocol as protocols
from distill_jax.inner import augment, unroll
from distill_jax.inner import sharpness as sharpness_lib
from distill_jax.methods import expert_seeds, parts
from distill_jax.methods import published_trajectories as published
from distill_jax.transforms import learned_rate

__all__ = ["datm", "ftd", "mtt", "tesla"]

Folder = str | os.PathLike[str] | None
Experts = buffers.ExpertPlan | Mapping[str, Any] | None


def mtt(
    task: base.Task,
    *,
    num_per_class: int,
    experts: Experts = None,
    buffer: Folder = None,
    num_student_steps: int | None = None,
    num_expert_epochs: int | None = None,
    first_start: int | None = None,
    last_start: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    rate_learning_rate: float | None = None,
    initial_rate: float | None = None,
    rate_kind: learned_rate.Kind = "log",
    augmentation: str = "auto",
    estimator: unroll.Estimator = "exact",
    remat: unroll.Remat = "step",
    num_experts_per_step: int = 1,
    initialisation: seeds.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Matching training trajectories (MTT).

    Everything that is None is as published for the data set and ``num_per_class``, or
    with a warning as for the nearest that was.

    Args:
      task: a task whose ``y`` are class probabilities, of a network without batch norm.
      num_per_class: stored pictures of each class.
      experts: how experts are trained, as an :class:`~distill_jax.buffers.ExpertPlan`
        or a mapping of its fields; by default ten, for as many epochs as are needed.
      buffer: the folder of the experts; they are trained when the run starts, where
        they are not there yet. None keeps them in memory.
      num_student_steps: N, steps of the student on the pictures.
      num_expert_epochs: M, epochs of the experts that they are to equal.
      first_start: the first epoch of an expert that a student may start from.
      last_start: such epochs are below this one.
      batch_size: synthetic examples in a step of the student.
      learning_rate: of the pictures.
      momentum: of the pictures and of the student's learning rate.
      rate_learning_rate: of the student's learning rate as it stands. With
        ``rate_kind="log"`` the logarithm's is that over ``initial_rate`` squared, which
        starts with steps of the same size.
      initial_rate: the student's learning rate at the start.
      rate_kind: ``"log"`` keeps that rate positive; ``"plain"`` is the papers'.
      augmentation: of the student's examples and of the experts', drawn anew in every
        step: a strategy string, ``"none"``, or ``"auto"``: all of DSA, without
        ``flip`` for digits.
      estimator: see :func:`~distill_jax.objectives.trajectory_matching`.
      remat: see :mod:`distill_jax.inner.unroll`.
      num_experts_per_step: experts that are matched in every step; the papers use 1.
      initialisation: what the pictures start as.
      factor: with 2 or 3, each stored picture decodes into 4 or 9 examples.
      protocol: how the result is judged; the paper's by default.

    Returns:
      A :class:`~distill_jax.base.Recipe`. Steps that are not finite are refused.

    Raises:
      InputError: for rates and counts that are not positive, a window of starts beyond
        the experts' epochs, or experts in the folder that are others.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = mtt(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, learning_rate=10.0, rate_learning_rate=1e-5,
      ...     initial_rate=0.1, batch_size=10, augmentation="none",
      ...     experts={"num_experts": 2})
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      George Cazenavette et al., "Dataset Distillation by Matching Training
      Trajectories", 2022, algorithm 1.
    """
    row = _row("mtt", task, num_per_class, locals())
    return _recipe("mtt", task, row, _Options(**_options(locals())))


def ftd(
    task: base.Task,
    *,
    num_per_class: int,
    experts: Experts = None,
    buffer: Folder = None,
    num_student_steps: int | None = None,
    num_expert_epochs: int | None = None,
    first_start: int | None = None,
    last_start: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    rate_learning_rate: float | None = None,
    initial_rate: float | None = None,
    rate_kind: learned_rate.Kind = "log",
    decay: float | None = None,
    augmentation: str = "auto",
    estimator: unroll.Estimator = "exact",
    remat: unroll.Remat = "step",
    num_experts_per_step: int = 1,
    initialisation: seeds.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Flat trajectories (FTD): experts in flat minima, and averaged pictures.

    Args:
      task: see :func:`mtt`, as for all that is not named here.
      num_per_class: see :func:`mtt`.
      experts: see :func:`mtt`; by default they avoid sharpness (GSAM).
      buffer: see :func:`mtt`.
      num_student_steps: see :func:`mtt`.
      num_expert_epochs: see :func:`mtt`.
      first_start: see :func:`mtt`.
      last_start: see :func:`mtt`.
      batch_size: see :func:`mtt`.
      learning_rate: see :func:`mtt`.
      momentum: see :func:`mtt`.
      rate_learning_rate: see :func:`mtt`.
      initial_rate: see :func:`mtt`.
      rate_kind: see :func:`mtt`.
      decay: of the moving average of the pictures, which is what is stored.
      augmentation: see :func:`mtt`.
      estimator: see :func:`mtt`.
      remat: see :func:`mtt`.
      num_experts_per_step: see :func:`mtt`.
      initialisation: see :func:`mtt`.
      factor: see :func:`mtt`.
      protocol: see :func:`mtt`.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`mtt`; and for a decay outside [0, 1).

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = ftd(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, learning_rate=10.0, rate_learning_rate=1e-5, decay=0.9,
      ...     initial_rate=0.1, batch_size=10, augmentation="none",
      ...     experts={"num_experts": 2})
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).x.shape
      (10, 8, 8, 1)

    Reference:
      Jiawei Du et al., "Minimizing the Accumulated Trajectory Error to Improve Dataset
      Distillation", 2023.
    """
    row = _row("ftd", task, num_per_class, locals())
    recipe = _recipe("ftd", task, row, _Options(**_options(locals())))
    assert row.decay is not None
    method = transforms.moving_average(recipe.method, row.decay, names=["x"])
    return recipe._replace(method=method)


def tesla(
    task: base.Task,
    *,
    num_per_class: int,
    experts: Experts = None,
    buffer: Folder = None,
    num_student_steps: int | None = None,
    num_expert_epochs: int | None = None,
    first_start: int | None = None,
    last_start: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    rate_learning_rate: float | None = None,
    initial_rate: float | None = None,
    rate_kind: learned_rate.Kind = "log",
    assigns_labels: bool = False,
    augmentation: str = "auto",
    estimator: unroll.Estimator = "tesla",
    remat: unroll.Remat = "step",
    num_experts_per_step: int = 1,
    initialisation: seeds.Initialisation = "real",
    factor: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Trajectory matching with the gradient of TESLA.

    That gradient holds the student's parameters constant, which makes it biased for
    more than one step; ``estimator="exact"`` gives the gradient without that.

    Args:
      task: see :func:`mtt`, as for all that is not named here.
      num_per_class: see :func:`mtt`.
      experts: see :func:`mtt`.
      buffer: see :func:`mtt`.
      num_student_steps: see :func:`mtt`.
      num_expert_epochs: see :func:`mtt`.
      first_start: see :func:`mtt`.
      last_start: see :func:`mtt`.
      batch_size: see :func:`mtt`.
      learning_rate: see :func:`mtt`.
      momentum: see :func:`mtt`.
      rate_learning_rate: see :func:`mtt`.
      initial_rate: see :func:`mtt`.
      rate_kind: see :func:`mtt`.
      assigns_labels: whether the labels are those that the target network gives, as in
        the paper's runs on ImageNet.
      augmentation: see :func:`mtt`.
      estimator: see :func:`mtt`.
      remat: see :func:`mtt`.
      num_experts_per_step: see :func:`mtt`.
      initialisation: see :func:`mtt`.
      factor: see :func:`mtt`.
      protocol: see :func:`mtt`.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`mtt`.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = tesla(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, learning_rate=10.0, rate_learning_rate=1e-5,
      ...     initial_rate=0.1, batch_size=10, augmentation="none",
      ...     experts={"num_experts": 2}, assigns_labels=True)
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).y.shape
      (10, 10)

    Reference:
      Justin Cui et al., "Scaling Up Dataset Distillation to ImageNet-1K with Constant
      Memory", 2023.
    """
    row = _row("tesla", task, num_per_class, locals())
    return _recipe("tesla", task, row, _Options(**_options(locals())))


def datm(
    task: base.Task,
    *,
    num_per_class: int,
    experts: Experts = None,
    buffer: Folder = None,
    num_student_steps: int | None = None,
    num_expert_epochs: int | None = None,
    first_start: int | None = None,
    last_start: int | None = None,
    window: tuple[int, int] | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    momentum: float = 0.5,
    label_learning_rate: float | None = None,
    label_momentum: float = 0.9,
    rate_learning_rate: float | None = None,
    initial_rate: float | None = None,
    rate_kind: learned_rate.Kind = "log",
    threshold: float | None = None,
    augmentation: str = "auto",
    estimator: unroll.Estimator = "exact",
    remat: unroll.Remat = "step",
    num_experts_per_step: int = 1,
    protocol: protocols.Protocol | None = None,
) -> base.Recipe:
    """Difficulty-aligned trajectories (DATM): a moving window and learned soft labels.

    Pictures start as real ones that experts classify correctly, labels as the mean
    logits of those experts.

    Args:
      task: see :func:`mtt`, as for all that is not named here.
      num_per_class: see :func:`mtt`.
      experts: see :func:`mtt`; by default they avoid sharpness (GSAM).
      buffer: see :func:`mtt`.
      num_student_steps: see :func:`mtt`.
      num_expert_epochs: see :func:`mtt`.
      first_start: see :func:`mtt`.
      last_start: see :func:`mtt`.
      window: (T0, K): students start below T0 at first, and below ``last_start`` after
        K steps; from the published settings where all others are too.
      batch_size: see :func:`mtt`.
      learning_rate: see :func:`mtt`.
      momentum: see :func:`mtt`.
      label_learning_rate: of the label logits.
      label_momentum: of the label logits.
      rate_learning_rate: see :func:`mtt`.
      initial_rate: see :func:`mtt`.
      rate_kind: see :func:`mtt`.
      threshold: steps with a larger loss are refused; 1, and 1.1 at one per class.
      augmentation: see :func:`mtt`.
      estimator: see :func:`mtt`.
      remat: see :func:`mtt`.
      num_experts_per_step: see :func:`mtt`.
      protocol: see :func:`mtt`.

    Returns:
      A :class:`~distill_jax.base.Recipe`.

    Raises:
      InputError: as :func:`mtt`.

    Example:
      >>> import jax
      >>> import distill_jax as dj
      >>> digits = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), digits.spec)
      >>> recipe = datm(
      ...     task, num_per_class=1, num_student_steps=3, num_expert_epochs=1,
      ...     last_start=2, window=(1, 2), learning_rate=10.0, initial_rate=0.1,
      ...     rate_learning_rate=1e-5, label_learning_rate=1.0, batch_size=10,
      ...     augmentation="none", experts={"num_experts": 2})
      >>> state, history = dj.run(recipe, digits, num_steps=2, key=jax.random.key(0))
      >>> recipe.method.read(state).y.shape
      (10, 10)

    Reference:
      Ziyao Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned
      Trajectory Matching", 2024.
    """
    row = _row("datm", task, num_per_class, locals())
    if last_start is not None:
        row = row._replace(window=window)
    if threshold is None:
        threshold = 1.1 if num_per_class == 1 else 1.0
    return _recipe("datm", task, row, _Options(**_options(locals())))


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
    initialisation: seeds.Initialisation = "real"
    factor: int = 1
    assigns_labels: bool = False
    label_momentum: float | None = None
    threshold: float = float("inf")


def _options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the arguments that are fields of `_Options`."""
    names = {field.name for field in dataclasses.fields(_Options)}
    return {name: value for name, value in given.items() if name in names}


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
    parts.check_positive(
        learning_rate=row.learning_rate,
        rate_learning_rate=row.rate_learning_rate,
        initial_rate=row.initial_rate,
    )
    return row


def _plan(row: published.Row, options: _Options, strategy: str) -> buffers.ExpertPlan:
    """How the experts are trained, where it was not said."""
    last = row.last_start - 1 + row.num_expert_epochs
    if isinstance(options.experts, buffers.ExpertPlan):
        return options.experts
    is_flat = row.alpha is not None or row.decay is not None
    flat = sharpness_lib.Sharpness(alpha=0.3 if row.alpha is None else row.alpha)
    for name in dict(options.experts or {}):
        known = [field.name for field in dataclasses.fields(buffers.ExpertPlan)]
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
    return buffers.ExpertPlan(**{**usual, **dict(options.experts or {})})


def _recipe(
    name: str, task: base.Task, row: published.Row, options: _Options
) -> base.Recipe:
    parts.check_momentum(options.momentum)
    strategy = parts.strategy(task, options.augmentation)
    policy = augment.parse(strategy, align_corners=True)
    has_labels = options.label_momentum is not None
    template = jax.eval_shape(
        lambda key: task.init(key, task.sample_context(key)), jax.random.key(0)
    ).params
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

    method = bilevel.distill(
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
    seed_fn = seeds.seed_fn(
        options.initialisation, options.num_per_class * options.factor**2
    )
    if has_labels:
        seed_fn = expert_seeds.agreed_seed(task, options.num_per_class, buffer_of)

    def source_fn(dataset: data.Dataset) -> buffers.Trajectories:
        published.check_whitening(name, row, dataset.spec)
        return buffer_of(dataset).to_source()

    judged = protocols.datm() if has_labels else protocols.mtt()
    judged = dataclasses.replace(judged, augmentation=strategy)
    return base.Recipe(
        method=transforms.gate_steps(method, options.threshold),
        sampler=sampler,
        seed_fn=seed_fn,
        source_fn=source_fn,
        protocol=options.protocol or judged,
    )


def _remembered(plan: buffers.ExpertPlan, task: base.Task, folder: Folder):
    """The buffer for a data set, made once."""
    made: dict[str, buffers.Buffer] = {}

    def buffer_of(dataset: data.Dataset) -> buffers.Buffer:
        name = dataset.spec.fingerprint
        if name not in made:
            made[name] = buffers.make_buffer(plan, task, dataset, folder=folder)
        return made[name]

    return buffer_of
