# Copyright The distill_jax Authors.
# SPDX-License-Identifier: Apache-2.0
"""Distribution matching: the class means of random networks' features are matched.

    L = sum_c || mean_b f(x_real[c, b]) - mean_m f(x_syn[c, m]) ||^2

Zhao and Bilen, "Dataset Condensation with Distribution Matching", 2023, eq. 6.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from distill_jax import base, errors, tasks
from distill_jax.compute import blocks
from distill_jax.objectives import checks, classwise
from distill_jax.types import Array, Key, PyTree

__all__ = ["Networks", "class_means", "distribution_matching"]


class Networks(NamedTuple):
    """The P networks of a step: the fields of their variables, and their contexts."""

    params: PyTree  # [P, ...]
    stats: PyTree  # [P, ...]
    context: Any = None  # [P, ...] of the task that each would learn; None without


def distribution_matching(
    task: base.Task, *, layer: str = "penultimate", num_networks: int = 1
) -> base.Objective:
    """Matches the mean features of each class under freshly drawn networks.

    The networks are never trained: ``inner`` holds the ``P`` drawn for this step, as
    ``Networks``, and ``advance`` draws those of the next. The batch is per class,
    ``[C, B, ...]``.

    Args:
      task: a task with features.
      layer: the name of the features to match; other axes are flattened.
      num_networks: ``P``, networks per step; the loss is their mean. The paper uses 1.

    Returns:
      An :class:`~distill_jax.base.Objective`.

    Raises:
      InputError: when the task has no features, or ``num_networks`` is below 1.

    Example:
      >>> import distill_jax as dj
      >>> data = dj.data.load("digits")
      >>> task = dj.tasks.classification(dj.nets.mlp(10), data.spec)
      >>> objective = distribution_matching(task)
      >>> objective.loss.__name__
      'loss'

    Reference:
      Bo Zhao, Hakan Bilen, "Dataset Condensation with Distribution Matching", 2023,
      eq. 6; the released code sums over classes and features without a division.
    """
    features_fn = checks.check_features(task, "Distribution matching")
    errors.check_counts(num_networks=num_networks)

    def draw(key: Key) -> Networks:
        init_fn = functools.partial(tasks.init_learner, task)
        learners = jax.vmap(init_fn)(jax.random.split(key, num_networks))
        return Networks(*learners.variables, learners.context)

    def at(*networks: base.Learner | base.Variables) -> Networks:
        learners = tasks.stack_learners(*networks)
        return Networks(*learners.variables, learners.context)

    def init(key: Key, synthetic: base.Synthetic) -> Networks:
        del synthetic  # Networks do not depend on the data.
        return draw(key)

    def loss(synthetic, key, inner, batch):
        del key  # The networks are drawn by `advance`.
        checks.check_no_contexts(batch, "Distribution matching", checks.HAS_OWN)
        real, by_class = classwise.by_class(task, synthetic, batch)
        means_fn = functools.partial(_mean_features, features_fn, layer)
        distances = jax.lax.map(
            lambda net: jnp.sum((means_fn(net, real) - means_fn(net, by_class)) ** 2),
            _learners(inner),
        )
        return jnp.mean(distances), base.Aux()

    def advance(key, inner, synthetic, batch):
        del inner, synthetic, batch  # Fresh networks for every step.
        return draw(key)

    return base.Objective(init=init, loss=loss, advance=advance, at=at)


def _learners(inner: Networks | base.Variables) -> base.Learner:
    """The networks of a step; variables alone are those of a task without contexts."""
    variables = base.Variables(inner.params, inner.stats)
    return base.Learner(variables, getattr(inner, "context", None))


def _mean_features(
    features_fn: checks.FeaturesFn,
    layer: str,
    learner: base.Learner,
    examples: base.Examples,
) -> Array:
    """``mean_b f(x[c, b])`` of every class of examples ``[C, B, ...]``; [C, D]."""
    variables, context = learner

    def of_block(number, block):
        del number  # Inference draws nothing.
        features = features_fn(variables, block.x, context)[layer]
        return block.weight @ features.reshape(features.shape[0], -1)

    return blocks.class_sums(of_block, jax.vmap(blocks.shares)(examples))


def class_means(features: Array, weight: Array | None) -> Array:
    """Weighted means over the examples of each class.

    Args:
      features: ``[C, B, D]``.
      weight: ``[C, B]`` or ``None`` for equal weights.

    Returns:
      ``[C, D]``; a class whose weights are all zero has mean 0.

    Example:
      >>> import jax.numpy as jnp
      >>> class_means(jnp.array([[[1.0], [5.0]]]), jnp.array([[1.0, 0.0]])).tolist()
      [[1.0]]
    """
    if weight is None:
        return features.mean(axis=1)
    total = jnp.sum(weight, axis=1)[:, None]
    summed = jnp.einsum("cbd,cb->cd", features, weight)
    return summed / jnp.where(total > 0, total, 1.0)
