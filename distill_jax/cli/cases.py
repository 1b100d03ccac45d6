# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""What is judged of a run: the arms, and all that each depends on but the run."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import distill_jax as dj

if TYPE_CHECKING:
    from distill_jax.cli.experiment import Experiment

__all__ = ["Case", "case_of", "wanted"]


class Case(NamedTuple):
    """What is judged, and by which arms."""

    config: Mapping[str, Any]  # of the run
    fingerprint: str  # of its data
    metrics: Sequence[dj.Metric]
    wanted: Mapping[str, Mapping[str, Any]]  # arms, with all that each depends on
    order: Sequence[str]  # of all arms that there can be
    is_alone: bool = False  # whether the set is compared with nothing
    details: Mapping[str, Any] = {}  # that its results say besides


def case_of(built: Experiment) -> Case:
    """Tells what is judged of a distillation.

    Args:
      built: from :func:`distill_jax.cli.experiment.build`.

    Returns:
      A :class:`Case`.
    """
    return Case(
        config=built.summary.config,
        fingerprint=built.dataset.spec.fingerprint,
        metrics=dj.tasks.metrics_of(built.task)[1],
        wanted=wanted(built),
        order=dj.evaluation.arm_names(built.dataset),
        is_alone=not built.evaluation.use_arms,
    )


def wanted(built: Experiment) -> dict[str, dict[str, Any]]:
    """Names the arms of an experiment, each with all that it depends on but the run.

    Args:
      built: from :func:`distill_jax.cli.experiment.build`.

    Returns:
      Settings by the name of an arm, as JSON has them.

    Example:
      >>> from distill_jax.cli import experiment, settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> config.evaluate.arms = False
      >>> wanted(experiment.build(config))
      {'synthetic-any': {'num_runs': 2, 'num_checkpoints': 1, 'is_alone': True}}
    """
    chosen = built.evaluation
    shared = {
        "num_runs": chosen.num_runs,
        "num_checkpoints": chosen.num_checkpoints,
        "is_alone": not chosen.use_arms,
    }
    if not chosen.use_arms:
        return {"synthetic-any": shared}
    expert = dataclasses.asdict(chosen.expert)
    own = {
        "real-hard": {"num_real_steps": chosen.num_real_steps},
        "random-soft": {"expert": json.loads(json.dumps(expert, default=str))},
    }
    names = dj.evaluation.arm_names(built.dataset)
    return {name: shared | own.get(name, {}) for name in names}
