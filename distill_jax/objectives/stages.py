# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Several objectives one after another, as one: each for so many outer steps."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from distill_jax import base, errors
from distill_jax.types import Array, Key

__all__ = ["Stages", "in_stages"]


class Stages(NamedTuple):
    """The inner states of all stages, and how many outer steps were taken."""

    turn: Array  # [] int32
    inner: tuple[Any, ...]


def in_stages(stages: Sequence[tuple[base.Objective, int]]) -> base.Objective:
    """Makes one objective of several that follow one another.

    Only the objective of the present stage is computed. Its metrics are those that all
    of them have, and ``stage``, which counts from 0; its probes are those that all of
    them give in the same shapes.

    Args:
      stages: objectives, and the outer steps of each; the last goes on for ever.

    Returns:
      An :class:`~distill_jax.base.Objective`; its inner state is :class:`Stages`. The
      inner states of later stages are made at the start of the run.

    Raises:
      InputError: without a stage, or for a stage before the last without steps.

    Example:
      >>> import distill_jax as dj, jax, jax.numpy as jnp
      >>> def pull(goal):
      ...     return dj.Objective(
      ...         init=lambda key, synthetic: {},
      ...         loss=lambda synthetic, key, inner, batch: (
      ...             jnp.sum((synthetic.x - goal) ** 2), dj.Aux()),
      ...         advance=lambda key, inner, synthetic, batch: inner)
      >>> objective = in_stages([(pull(1.0), 1), (pull(3.0), 1)])
      >>> synthetic = dj.Synthetic(jnp.zeros(1), jnp.ones((1, 1)))
      >>> key = jax.random.key(0)
      >>> inner = objective.init(key, synthetic)
      >>> for _ in range(2):
      ...     print(float(objective.loss(synthetic, key, inner, None)[0]))
      ...     inner = objective.advance(key, inner, synthetic, None)
      1.0
      9.0
    """
    _check(stages)
    objectives = [objective for objective, _ in stages]
    ends = np.cumsum([count for _, count in stages[:-1]]).astype(np.int32)

    def stage_of(inner: Stages) -> Array:
        return jnp.sum(inner.turn >= jnp.asarray(ends), dtype=jnp.int32)

    def init(key: Key, synthetic: base.Synthetic) -> Stages:
        keys = jax.random.split(key, len(objectives))
        inner = (
            objective.init(key, synthetic)
            for objective, key in zip(objectives, keys, strict=True)
        )
        return Stages(jnp.zeros((), jnp.int32), tuple(inner))

    def at(*networks: base.Learner | base.Variables) -> Stages:
        inner = (objective.at(*networks) for objective in objectives)
        return Stages(jnp.zeros((), jnp.int32), tuple(inner))

    def loss(synthetic, key, inner, batch):
        losses = [
            functools.partial(_loss_of, objective, key, state, batch)
            for objective, state in zip(objectives, inner.inner, strict=True)
        ]
        names = _common_names(losses, synthetic)
        branches = [functools.partial(_with_names, fn, *names) for fn in losses]
        stage = stage_of(inner)
        value, aux = jax.lax.switch(stage, branches, synthetic)
        metrics = {**aux.metrics, "stage": stage.astype(value.dtype)}
        return value, aux._replace(metrics=metrics)

    def advance(key, inner, synthetic, batch):
        branches = [
            functools.partial(_advance_one, number, objective, key, synthetic, batch)
            for number, objective in enumerate(objectives)
        ]
        moved = jax.lax.switch(stage_of(inner), branches, inner.inner)
        return Stages(inner.turn + 1, moved)

    def read(synthetic, inner):
        branches = [
            functools.partial(_read_of, objective, state)
            for objective, state in zip(objectives, inner.inner, strict=True)
        ]
        return jax.lax.switch(stage_of(inner), branches, synthetic)

    return base.Objective(
        init=init,
        loss=loss,
        advance=advance,
        read=read,
        probes=_common_probes(objectives),
        at=at,
    )


def _loss_of(
    objective: base.Objective, key: Key, inner: Any, batch: Any, synthetic: Any
) -> tuple[Array, base.Aux]:
    """The loss of a stage as a function of the synthetic examples."""
    return objective.loss(synthetic, key, inner, batch)


def _read_of(objective: base.Objective, inner: Any, synthetic: Any) -> base.Synthetic:
    """What a stage reads as a function of the synthetic examples."""
    return objective.read(synthetic, inner)


def _common_probes(objectives: Sequence[base.Objective]) -> tuple[str, ...]:
    """The names of the probes that all stages have, as the first has them."""
    first, *others = objectives
    is_common = lambda name: all(name in other.probes for other in others)
    return tuple(filter(is_common, first.probes))


def _common_names(
    losses: Sequence[Callable], synthetic: Any
) -> tuple[list[str], list[str]]:
    """The names of the metrics that all stages have, and those of their probes."""
    auxes = [jax.eval_shape(loss_fn, synthetic)[1] for loss_fn in losses]
    metrics = sorted(set.intersection(*(set(aux.metrics) for aux in auxes)))
    probes = sorted(set.intersection(*(set(aux.probes) for aux in auxes)))
    shapes = lambda tree: jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), tree)
    is_alike = lambda name: all(
        shapes(aux.probes[name]) == shapes(auxes[0].probes[name]) for aux in auxes
    )
    return metrics, [name for name in probes if is_alike(name)]


def _with_names(
    loss_fn: Callable, metrics: Sequence[str], probes: Sequence[str], synthetic: Any
) -> tuple[Array, base.Aux]:
    """A loss with what has these names, so that all stages return the same tree."""
    value, aux = loss_fn(synthetic)
    return value, base.Aux(
        metrics={name: aux.metrics[name] for name in metrics},
        probes={name: aux.probes[name] for name in probes},
    )


def _advance_one(
    number: int,
    objective: base.Objective,
    key: Key,
    synthetic: Any,
    batch: Any,
    inners: tuple[Any, ...],
) -> tuple[Any, ...]:
    """The inner states after a turn of one stage."""
    moved = objective.advance(key, inners[number], synthetic, batch)
    return (*inners[:number], moved, *inners[number + 1 :])


def _check(stages: Sequence[tuple[base.Objective, int]]) -> None:
    if not stages:
        raise errors.InputError("There must be at least one stage, got none.")
    for number, (_, count) in enumerate(stages[:-1]):
        if count < 1:
            raise errors.InputError(
                f"Stage {number} has {count} outer steps; leave it out, or give at "
                "least 1."
            )
