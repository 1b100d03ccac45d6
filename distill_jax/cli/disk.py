# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Tells what a run will leave on the disk, before it is begun."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import distill_jax as dj

if TYPE_CHECKING:
    from distill_jax.cli.experiment import Experiment

__all__ = ["bytes_of_experts", "bytes_of_run"]

_NUM_CHECKPOINTS = 2  # That a run keeps.
_OTHER_BYTES = 100_000  # The report, the logs, and what lies beside arrays.


def bytes_of_run(built: Experiment, recipe: dj.Recipe) -> int:
    """Counts the bytes of what a run keeps: checkpoints, the distilled set, its report.

    Args:
      built: from :func:`distill_jax.cli.experiment.build`.
      recipe: that of it, or one that needs no experts.

    Returns:
      Bytes.

    Example:
      >>> from distill_jax.cli import experiment, settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> built = experiment.build(config)
      >>> 100_000 < bytes_of_run(built, built.recipe) < 200_000
      True
    """
    import jax

    key = jax.random.key(built.seed)
    initial = recipe.initial_fn(key, built.dataset)
    state = jax.eval_shape(recipe.method.init, key, initial)
    synthetic = jax.eval_shape(recipe.method.read, state)
    arrays = _NUM_CHECKPOINTS * _num_bytes(state) + _num_bytes(synthetic)
    return arrays + _OTHER_BYTES


def bytes_of_experts(built: Experiment) -> int:
    """Counts the bytes of all experts of a recipe, at the epochs that are kept.

    Args:
      built: from :func:`distill_jax.cli.experiment.build`.

    Returns:
      Bytes; 0 where there are no experts.

    Example:
      >>> from distill_jax.cli import experiment, settings
      >>> config = settings.finish(settings.default(), "runlocal")
      >>> config.network = {"name": "mlp", "hidden": (8,)}
      >>> bytes_of_experts(experiment.build(config))
      0
    """
    import jax
    import numpy as np

    plan = built.recipe.experts
    if plan is None:
        return 0
    leaves = jax.tree.leaves(dj.tasks.network_shapes(built.task).params)
    num_parameters = sum(math.prod(leaf.shape) for leaf in leaves)
    num_snapshots = plan.num_experts * len(plan.kept())
    return num_snapshots * num_parameters * np.dtype(plan.dtype).itemsize


def _num_bytes(shapes: Any) -> int:
    """Of all arrays of a tree of shapes."""
    import jax

    leaves = jax.tree.leaves(shapes)
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
