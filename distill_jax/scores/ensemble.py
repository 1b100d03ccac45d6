# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Scores of a whole data set: the mean of what several trained networks say.

    s_i = 1/E sum_e score(x_i, y_i; theta_e)

One network ranks examples with much noise, so scores come with their standard error.
"""

import functools
from typing import NamedTuple

import jax
import jax.core
import jax.numpy as jnp

from distill_jax import base, deprecations, errors, experts, tasks
from distill_jax import data as data_lib
from distill_jax.augmentation import policies
from distill_jax.compute import blocks
from distill_jax.scores import per_example
from distill_jax.training import pool
from distill_jax.types import Array, Key

__all__ = ["Scores", "rate"]


class Scores(NamedTuple):
    """One number for each example, and how well it is known."""

    value: Array  # [N], the mean over networks
    standard_error: Array  # [N], of that mean; NaN with a single network


def rate(
    task: base.Task,
    networks: base.Learner | base.Variables,
    source: base.Source,
    *,
    score: str | per_example.ScoreFn = "grand",
    chunk_size: int = 512,
) -> Scores:
    """Scores every example of a data set by several networks.

    ``parallel.over_mesh(rate, mesh)`` spreads the networks over devices, or with the
    axis ``"any"`` the examples where the networks do not fill them. Pure: under
    ``jax.jit`` make the source an argument, not a constant.

    Args:
      task: what the networks were trained for.
      networks: with a leading axis E, as
        :func:`~distill_jax.experts.train_learners` gives them; variables alone, as of
        :func:`~distill_jax.experts.train_experts`, where the task has no contexts.
      source: from ``dj.data.to_source``; labels are classes [N] or targets [N, C].
      score: a name in :data:`SCORES`, or ``(task, variables, examples, context) ->
        [B]`` that takes every example alone.
      chunk_size: examples that are taken at a time, at most.

    Returns:
      :class:`Scores` in the order of the source.

    Raises:
      InputError: for an unknown score, one that asks for classes where targets are
        values, a chunk of no examples, or networks that lack the contexts in which they
        were trained.
      DivergedError: when scores are not finite, since the training of a network
        diverged.

    Example:
      >>> import distill_jax as dj, jax
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10, hidden=(8,)), data.spec)
      >>> source = dj.data.to_source(data)
      >>> networks = dj.experts.train_experts(
      ...     jax.random.key(0), task, source, dj.experts.Training(num_epochs=1),
      ...     num_experts=2)
      >>> scores = dj.scores.rate(task, networks, source, score="el2n")
      >>> scores.value.shape, bool(scores.standard_error.max() > 0)
      ((960,), True)

    Reference:
      Paul, Ganguli, Dziugaite, "Deep Learning on a Data Diet: Finding Important
      Examples Early in Training", 2021, section 2.
    """
    score_fn = _score_fn(task, score)
    if chunk_size < 1:
        raise errors.InputError(f"`chunk_size` must be at least 1, got {chunk_size}.")
    num_classes = source.table.shape[0]
    learners = tasks.as_learner(networks)
    contexts = jax.eval_shape(task.sample_context, jax.random.key(0))
    if jax.tree.structure(contexts) != jax.tree.structure(learners.context):
        raise errors.InputError(
            "The networks have no contexts, but the task has some, without which a "
            "network says nothing: give the learners of `experts.train_learners`."
        )

    def score_rows(learner: base.Learner, raw: base.Examples) -> Array:
        x = data_lib.normalize(source.normalizer, raw.x)
        y = raw.y if raw.y.ndim == 2 else jax.nn.one_hot(raw.y, num_classes)
        examples = raw._replace(x=x, y=y)
        return score_fn(task, learner.variables, examples, learner.context)

    def score_all(learner: base.Learner) -> Array:
        fn = functools.partial(score_rows, learner)
        index = jnp.arange(len(source.y), dtype=jnp.int32)
        examples = base.Examples(source.x, source.y, index=index)
        return blocks.map_chunks(fn, examples, chunk_size)

    scores = pool.map_networks(score_all, learners)  # [E, N]
    num_networks = scores.shape[0]
    spread = jnp.std(scores, axis=0, ddof=1) if num_networks > 1 else jnp.nan
    error = jnp.broadcast_to(spread / num_networks**0.5, scores.shape[1:])
    value = scores.mean(axis=0)
    if not isinstance(value, jax.core.Tracer) and not jnp.isfinite(value).all():
        raise errors.DivergedError(
            f"The scores of {int((~jnp.isfinite(value)).sum())} of {len(value)} "
            "examples are not finite, since a network diverged in its training; lower "
            "the learning rate of the networks."
        )
    return Scores(value, error)


def train_networks(
    key: Key,
    task: base.Task,
    source: base.Source,
    *,
    num_networks: int = 5,
    num_epochs: int = 5,
    learning_rate: float = 0.01,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    batch_size: int = 256,
    policy: policies.Policy | None = None,
) -> base.Variables:
    """Calls :func:`distill_jax.experts.train_experts`, which this was before."""
    deprecations.warn("scores.train_networks", "experts.train_experts")
    how = experts.Training(
        num_epochs=num_epochs,
        learning_rate=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        batch_size=batch_size,
        augmentation="none" if policy is None else policy,
    )
    return experts.train_experts(key, task, source, how, num_experts=num_networks)


def _score_fn(task: base.Task, score: str | per_example.ScoreFn) -> per_example.ScoreFn:
    if not isinstance(score, str):
        return score
    if score not in per_example.SCORES:
        raise errors.InputError(
            f'There is no score "{score}". {errors.nearest(score, per_example.SCORES)}'
        )
    if score in per_example.OF_CLASSES and not task.has_classes:
        raise errors.InputError(
            f'The score "{score}" asks for the class of an example, but the targets of '
            'the task are values; use "loss" or "grand".'
        )
    return per_example.SCORES[score]
