# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Networks that were trained, on examples that they have not seen."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from distill_jax import base, errors, tasks
from distill_jax import data as data_lib
from distill_jax.evaluation import side_by_side as side_by_side_lib
from distill_jax.types import Array

__all__ = ["hold_out", "judging_program"]


def hold_out(data: data_lib.Dataset, split: str) -> base.HeldOut:
    """Puts a split on the device, as networks are judged on it.

    Args:
      data: the real data set.
      split: ``"test"``, ``"validation"`` or ``"train"``.

    Returns:
      The raw inputs, their classes or targets, and the normaliser.

    Example:
      >>> import distill_jax as dj
      >>> hold_out(dj.data.load("digits"), "test").x.shape
      (597, 8, 8, 1)
    """
    arrays = getattr(data, split)
    return base.HeldOut(
        jax.tree.map(jnp.asarray, arrays.x),
        jnp.asarray(arrays.y),
        jax.tree.map(jnp.asarray, data.spec.normalizer),
    )


def judging_program(task: base.Task, side_by_side: str) -> Callable:
    """Makes the program that judges networks at several moments of their training.

    Args:
      task: says by what.
      side_by_side: ``"vmap"`` or ``"map"``, of the networks.

    Returns:
      A function of variables [R, K, ...], contexts [R, ...] and held-out data. It gives
      sums over the examples by name [R, K], values of all of them by name [R, K], and
      which networks diverged [R, K].

    Example:
      >>> import distill_jax as dj
      >>> spec = dj.data.load("digits").spec
      >>> task = dj.tasks.classification(dj.nets.mlp(10), spec)
      >>> callable(judging_program(task, "map"))
      True
    """

    def program(variables, contexts, held_out):
        def one_run(pair):
            variables, context = pair
            judge = lambda now: _judge(task, now, held_out, context)
            return jax.lax.map(judge, variables)

        return side_by_side_lib.over_runs(one_run, (variables, contexts), side_by_side)

    return program


def _judge(
    task: base.Task, variables: base.Variables, held_out: base.HeldOut, context: Any
) -> tuple[dict[str, Array], dict[str, Array], Array]:
    """Judges one network: sums over examples, values, and whether it has diverged."""
    metrics_fn, metrics = tasks.metrics_of(task)
    told = dict(metrics_fn(variables, held_out, context))
    names = [metric.name for metric in metrics]
    if set(names) != set(told):
        raise errors.InputError(
            f"The metrics of the task are {sorted(told)}, but its facts say {names}; "
            "give `TaskFacts.metrics` a `Metric` for each, the one that decides first."
        )
    sums, values, has_diverged = {}, {}, jnp.bool(False)
    for metric in metrics:
        value = told[metric.name]
        is_finite = jnp.isfinite(value)
        has_diverged |= ~is_finite.all()
        if metric.worst is not None:
            value = jnp.where(is_finite, value, metric.worst)
        if jnp.ndim(value):
            sums[metric.name] = value.sum()
        else:
            values[metric.name] = value
    return sums, values, has_diverged
