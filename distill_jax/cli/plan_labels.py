# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Says what labelling images will take: experts, students, disk."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import numpy as np

import distill_jax as dj
from distill_jax import base, experts
from distill_jax.cli import label_facts, labelling

__all__ = ["LabelPlan", "plan_of", "to_lines"]


class LabelPlan(NamedTuple):
    """What a run that labels images takes."""

    num_students: int  # of the choice
    num_networks: int  # of the arms on the images
    seconds_of_one: float  # of these
    expert_seconds: float  # of all experts; 0 without
    expert_bytes: int  # on the disk


def plan_of(built: labelling.Labelling) -> LabelPlan:
    """Takes the time of one student, and of one epoch of one expert.

    Args:
      built: from :func:`distill_jax.cli.labelling.build`.

    Returns:
      A :class:`LabelPlan`.

    Example:
      >>> from distill_jax.cli import settings
      >>> config = settings.finish(settings.label(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> plan_of(labelling.build(config)).num_students
      5
    """
    pairs = len(built.epochs) * len(built.options.temperatures)
    plan, seconds, num_bytes = built.teachers.plan, 0.0, 0
    if plan is not None:
        seconds = experts.seconds_of(plan, built.teachers.task, built.dataset)
        shapes = dj.tasks.network_shapes(built.teachers.task)
        size = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))
        itemsize = np.dtype(plan.dtype).itemsize
        num_bytes = plan.num_experts * len(plan.kept()) * size * itemsize
    on_images = [name for name in label_facts.wanted(built) if name != "real-hard"]
    return LabelPlan(
        pairs * built.options.num_seeds,
        len(on_images) * built.num_runs,
        _seconds_of_student(built),
        seconds,
        num_bytes,
    )


def to_lines(plan: LabelPlan) -> list[str]:
    """Says a plan in words, a line each.

    Args:
      plan: from :func:`plan_of`.

    Returns:
      Lines for a person.

    Example:
      >>> for line in to_lines(LabelPlan(36, 15, 0.5, 8.0, 9_600_000)):
      ...     print(line)
      experts     about 8 s, unless they are there already
      choosing    about 18 s for 36 students
      evaluating  about 7.5 s for 15 networks on the images, and those on all real data
      disk        about 9.6 MB of experts
    """
    duration, size = dj.report.tables.format_seconds, dj.report.tables.format_bytes
    lines = []
    if plan.expert_bytes:
        lines.append(
            f"experts     about {duration(plan.expert_seconds)}, unless they are there "
            "already"
        )
    lines += [
        f"choosing    about {duration(plan.num_students * plan.seconds_of_one)} for "
        f"{plan.num_students} students",
        f"evaluating  about {duration(plan.num_networks * plan.seconds_of_one)} for "
        f"{plan.num_networks} networks on the images, and those on all real data",
    ]
    if plan.expert_bytes:
        lines.append(f"disk        about {size(plan.expert_bytes)} of experts")
    return lines


def _seconds_of_student(built: labelling.Labelling) -> float:
    """To train and test one, whatever its labels are."""
    num_rows, num_classes = len(built.images.x), built.dataset.spec.num_classes
    y: Any = jax.numpy.full((num_rows, num_classes), 1 / num_classes)
    return dj.evaluate(
        built.task,
        base.Synthetic(jax.numpy.asarray(built.images.x), y, None, None),
        built.dataset,
        protocol=built.protocol,
        num_runs=1,
        key=jax.random.key(built.seed),
        split=built.options.split,
        side_by_side=built.options.side_by_side,
        allow_diverged=True,
    ).run_seconds
